package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wshub-go/wshub/internal/leak"
)

// asProgram has the test binary be the program.
const asProgram = "GRACEFUL_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	leak.Main(m)
}

// TestRun restarts in this process, under the race detector if there is one.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err := run(ctx, config{addr: "127.0.0.1:0", clients: 20, every: 2 * time.Millisecond, settle: 20 * time.Millisecond, spread: 200 * time.Millisecond, more: 200 * time.Millisecond})
	if err != nil {
		t.Error(err)
	}
	if err := run(ctx, config{addr: "256.0.0.1:0", every: time.Second}); err == nil {
		t.Error("no error for an address that is none")
	}
}

// TestTerminate sends SIGTERM to the program under load.
func TestTerminate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no SIGTERM to send")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-addr", "127.0.0.1:0", "-clients", "20")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(out)
	url, err := br.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url = strings.TrimSpace(url)
	for _, path := range []string{"livez", "readyz"} {
		resp, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(br)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, rest)
	}
	if got := string(rest); !strings.Contains(got, "20 clients came back") || !strings.Contains(got, " 0 did not") {
		t.Errorf("it printed %s", got)
	}
}

// TestReport checks that what goes wrong is told.
func TestReport(t *testing.T) {
	if err := report([]client{{seen: 5, dials: 1}}, 5); err != nil {
		t.Error(err)
	}
	if err := report([]client{{seen: 5, dials: 1}, {seen: 4, dials: 1}}, 5); err == nil {
		t.Error("a client that missed the last number is not told of")
	}
	for name, frames := range map[string]string{
		"a gap":          "\x81\x09{\"seq\":1}\x81\x09{\"seq\":3}",
		"a repeat":       "\x81\x09{\"seq\":1}\x81\x09{\"seq\":1}",
		"no close frame": "\x81\x09{\"seq\":1}",
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() { // ends with the connection, which the client closes
			defer close(served)
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			http.ReadRequest(bufio.NewReader(conn))
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n"+frames)
		}()
		var c client
		c.run(t.Context(), ln.Addr().(*net.TCPAddr).Port)
		if c.err == nil || c.seen != 1 {
			t.Errorf("%s: %v after %d", name, c.err, c.seen)
		}
		ln.Close()
		<-served
	}
}
