package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wshub-go/wshub/internal/leak"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(guestsEnv); addr != "" {
		guestsMain(addr)
		return
	}
	leak.Main(m)
}

// A few seconds of what the command does for minutes, with the guests in this process and in one of their own.
func TestStress(t *testing.T) {
	for name, c := range map[string]config{
		"one process":   {Duration: 3 * time.Second, Sessions: 300, Life: 500 * time.Millisecond, Rate: 10_000},
		"two processes": {Duration: time.Second, Sessions: 100, Life: 200 * time.Millisecond, Rate: 5_000, Apart: true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(t.Context(), c, t.Output()); err != nil {
				t.Error(err)
			}
		})
	}
}

// What is wrong is an error, such as a guest that is not gone.
func TestNotAsBefore(t *testing.T) {
	c := config{Duration: time.Second, Sessions: 10, Life: time.Second, Rate: 100}
	v, err := newVenue(c)
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	g := &guest{config: c, told: newReport(), heard: make(map[string]*heard)}
	if g.conn, err = connect(v.addr()); err != nil {
		t.Fatal(err)
	}
	defer g.conn.Close()
	if ok, err := g.enter(pathRange, nil); !ok || err != nil {
		t.Fatalf("not let in: %v", err)
	}
	g.ask("join room/1")
	for g.pending != "" && !g.over() {
		if err := g.receive(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
	}
	var all strings.Builder
	for _, err := range v.left() {
		all.WriteString(err.Error() + "\n")
	}
	for _, want := range []string{"1 sessions", "topic {Name:room/1", "room 1: 1 members", "1 connects and 0 disconnects", "1 joins and 0 leaves"} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no %q in %q", want, all.String())
		}
	}
}

// Guests are in a process of their own when the file descriptors of one do not suffice.
func TestProcesses(t *testing.T) {
	for _, tt := range []struct {
		config
		limit      int
		apart, bad bool
	}{
		{config{Sessions: 1000}, 1024, false, true},
		{config{Sessions: 1000}, 2048, true, false},
		{config{Sessions: 1000}, 4096, false, false},
		{config{Sessions: 1000, Apart: true}, 4096, true, false},
	} {
		if apart, err := processes(tt.config, tt.limit); apart != tt.apart || (err != nil) != tt.bad {
			t.Errorf("%+v with %d descriptors: apart %t, %v", tt.config, tt.limit, apart, err)
		}
	}
}
