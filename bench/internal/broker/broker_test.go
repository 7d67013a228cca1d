package broker

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

func TestRun(t *testing.T) {
	for _, kind := range []string{"nats", "redis"} {
		for name, last := range map[string]string{"quit": `{"do":"quit"}`, "end of input": ""} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				inR, inW := io.Pipe()
				outR, outW := io.Pipe()
				ended := make(chan error, 1)
				go func() {
					err := Run(kind, inR, outW)
					outW.CloseWithError(errors.Join(io.EOF, err))
					ended <- err
				}()
				d := json.NewDecoder(outR)
				read := func() (r proto.Reply) {
					if err := d.Decode(&r); err != nil {
						t.Fatal(err)
					}
					return r
				}
				var ready proto.Ready
				if err := json.Unmarshal(read().Result, &ready); err != nil {
					t.Fatal(err)
				}
				u, err := url.Parse(ready.Addr)
				if err != nil || u.Scheme != kind || u.Hostname() != "127.0.0.1" {
					t.Fatalf("ready at %q", ready.Addr)
				}
				c, err := net.Dial("tcp", u.Host)
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
				io.WriteString(inW, `{"do":"stats"}`+"\n")
				if r := read(); r.Error == "" {
					t.Errorf("reply %+v", r)
				}
				if last != "" {
					io.WriteString(inW, last+"\n")
					if r := read(); r.Error != "" {
						t.Error(r.Error)
					}
				}
				inW.Close()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				if c, err := net.Dial("tcp", u.Host); err == nil {
					c.Close()
					t.Error("it still listens")
				}
			})
		}
	}
}

func TestMiniredis(t *testing.T) {
	addr, stop, err := startMiniredis()
	if err != nil {
		t.Fatal(err)
	}
	if !answers(strings.TrimPrefix(addr, "redis://")) {
		t.Errorf("%s does not answer", addr)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestFailures(t *testing.T) {
	if err := Run("postgres", strings.NewReader(""), io.Discard); err == nil {
		t.Error("a broker of an unknown kind")
	}
	if err := Run("nats", strings.NewReader("nonsense"), io.Discard); err == nil {
		t.Error("nonsense is a request")
	}
	path, err := exec.LookPath("true")
	if err != nil {
		t.Skip(err)
	}
	if _, _, err := startRedis(path); err == nil {
		t.Error("a redis that ends at once")
	}
}
