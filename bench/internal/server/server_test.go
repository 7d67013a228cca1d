package server

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/wshub-go/wshub/bench/internal/contender"
	"github.com/wshub-go/wshub/bench/internal/proto"
)

// fake is a hub that notes what it is told. Its fields are read when Run has returned.
type fake struct {
	done     chan struct{}
	payloads []string
	topics   []int
	closed   bool
}

func (f *fake) Serve(l net.Listener) error { <-f.done; return l.Close() }
func (f *fake) Clients() int               { return 3 }
func (f *fake) Joins() int                 { return 4 }
func (f *fake) Echoed() uint64             { return 5 }

func (f *fake) Publish(topic int, payload []byte) {
	f.topics = append(f.topics, topic)
	f.payloads = append(f.payloads, string(payload))
}

func (f *fake) Send(client int, payload []byte) bool {
	if client == 0 {
		return false
	}
	f.Publish(client, payload)
	return true
}

func (f *fake) Close() error {
	f.closed = true
	close(f.done)
	return nil
}

// run starts a server of f and returns what to ask it with.
func run(t *testing.T, f *fake) (ask func(do string, args any) proto.Reply, end func() error) {
	t.Helper()
	f.done = make(chan struct{})
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		c := contender.Contender{Name: "fake", New: func(contender.Options) (contender.Hub, error) { return f, nil }}
		err := Run(c, contender.Options{}, inR, outW)
		outW.Close()
		inR.Close()
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
	unmarshal(t, read(), &ready)
	if host, _, err := net.SplitHostPort(ready.Addr); err != nil || host != "127.0.0.1" {
		t.Errorf("ready at %q", ready.Addr)
	}
	ask = func(do string, args any) proto.Reply {
		t.Helper()
		b, err := json.Marshal(args)
		if err == nil {
			err = json.NewEncoder(inW).Encode(proto.Request{Do: do, Args: b})
		}
		if err != nil {
			t.Fatal(err)
		}
		return read()
	}
	return ask, func() error { inW.Close(); return <-ended }
}

func unmarshal(t *testing.T, r proto.Reply, v any) {
	t.Helper()
	if r.Error != "" {
		t.Fatal(r.Error)
	}
	if err := json.Unmarshal(r.Result, v); err != nil {
		t.Fatal(err)
	}
}

func TestPublish(t *testing.T) {
	f := new(fake)
	ask, end := run(t, f)
	var p proto.Published
	unmarshal(t, ask(proto.DoPublish, proto.Publish{Window: 7, Topics: []int{1, 2}, Rate: 1e6, Burst: 3, Count: 5, Size: 200}), &p)
	if p.Count != 5 || p.PerKey[1] != 3 || p.PerKey[2] != 2 || p.Call.N != 5 || p.Late.N != 2 || p.Call.Max < p.Call.P50 {
		t.Errorf("published %+v", p)
	}
	// The same window goes on, another begins again.
	unmarshal(t, ask(proto.DoPublish, proto.Publish{Window: 7, Topics: []int{1}, Rate: 1e6, Count: 1, JSON: true, Size: 1024}), &p)
	if p.PerKey[1] != 4 {
		t.Errorf("published %+v", p)
	}
	unmarshal(t, ask(proto.DoPublish, proto.Publish{Window: 8, Topics: []int{1, 2, 3}, Random: true, Rate: 1e6, Count: 60}), &p)
	if p.PerKey[1]+p.PerKey[2]+p.PerKey[3] != 60 || p.PerKey[1] == 0 || p.PerKey[2] == 0 || p.PerKey[3] == 0 {
		t.Errorf("published %+v", p)
	}
	if err := end(); err != nil || !f.closed {
		t.Errorf("ended with %v", err)
	}
	if got, want := f.topics[:6], []int{1, 2, 1, 2, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("topics %v, want %v", got, want)
	}
	for i, s := range f.payloads {
		w, k, n, at, ok := proto.Parse([]byte(s))
		if !ok || !json.Valid([]byte(s)) || k != uint32(f.topics[i]) || n == 0 || at == 0 || at > proto.Now() || (w == 7) != (i < 6) {
			t.Errorf("%d: %.100s", i, s)
		}
		if want := []int{200, 1024, proto.MinSize}[min(i/5, 2)]; i <= 6 && i != 6 && len(s) != want {
			t.Errorf("%d: %d bytes, want %d", i, len(s), want)
		}
	}
}

// Those that are not there get no number.
func TestDirect(t *testing.T) {
	f := new(fake)
	ask, end := run(t, f)
	var p proto.Published
	unmarshal(t, ask(proto.DoPublish, proto.Publish{Window: 1, Direct: 3, Rate: 1e6, Count: 60}), &p)
	if p.Count >= 60 || p.Count != int(p.PerKey[1]+p.PerKey[2]) || p.PerKey[0] != 0 || p.Call.N != int64(p.Count) {
		t.Errorf("published %+v", p)
	}
	if err := end(); err != nil || len(f.payloads) != p.Count {
		t.Errorf("ended with %v after %d", err, len(f.payloads))
	}
}

func TestStatsAndQuit(t *testing.T) {
	ask, end := run(t, new(fake))
	for _, gc := range []bool{false, true} {
		r := ask(proto.DoStats, proto.StatsOf{GC: gc})
		if _, _, err := usage(); err != nil {
			if !strings.Contains(r.Error, err.Error()) {
				t.Errorf("reply %+v", r)
			}
			continue
		}
		var s proto.Stats
		unmarshal(t, r, &s)
		if s.Clients != 3 || s.Joins != 4 || s.Echoed != 5 || s.CPU <= 0 || s.Heap == 0 || s.Stack == 0 || s.RSS == 0 || s.Goroutines == 0 {
			t.Errorf("stats %+v", s)
		}
	}
	for _, r := range []proto.Reply{
		ask("dance", nil),
		ask(proto.DoPublish, proto.Publish{Topics: []int{1}}),
		ask(proto.DoPublish, proto.Publish{Rate: 1}),
		ask(proto.DoPublish, "text"),
	} {
		if r.Error == "" {
			t.Errorf("reply %+v", r)
		}
	}
	if r := ask(proto.DoQuit, nil); r.Error != "" {
		t.Error(r.Error)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

// A schedule of an hour ends with the input.
func TestEndOfInput(t *testing.T) {
	f := &fake{done: make(chan struct{})}
	b, _ := json.Marshal(proto.Publish{Topics: []int{1}, Rate: 1, Count: 3600})
	in := strings.NewReader(`{"do":"publish","args":` + string(b) + "}\n")
	c := contender.Contender{Name: "fake", New: func(contender.Options) (contender.Hub, error) { return f, nil }}
	if err := Run(c, contender.Options{}, in, io.Discard); err != nil || !f.closed {
		t.Errorf("ended with %v", err)
	}
}

func TestFailures(t *testing.T) {
	c := contender.Contender{Name: "fake", New: func(contender.Options) (contender.Hub, error) { return nil, io.ErrUnexpectedEOF }}
	if err := Run(c, contender.Options{}, strings.NewReader(""), io.Discard); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("ended with %v", err)
	}
	f := &fake{done: make(chan struct{})}
	c.New = func(contender.Options) (contender.Hub, error) { return f, nil }
	if err := Run(c, contender.Options{}, strings.NewReader("nonsense"), io.Discard); err == nil || !f.closed {
		t.Errorf("ended with %v", err)
	}
}
