package scenario

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// TestFigures runs every scenario and checks that it finds what it says it does, and ends its processes.
func TestFigures(t *testing.T) {
	for _, s := range All() {
		t.Run(s.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				field := s.Field([]Contender{everything})
				if len(field) == 0 {
					t.Fatal("wshub does not take part")
				}
				for _, c := range field {
					w := new(world)
					r, err := s.Run(w.bench(), c)
					if err != nil || r.Error != "" {
						t.Fatal(err)
					}
					w.ended(t)
					if r.Scenario != s.Name || r.Contender != c.Name || r.Short != 0 || len(r.Notes) != 0 {
						t.Errorf("%+v", r)
					}
					for _, f := range s.Figures {
						if _, ok := r.Figures[f.Key]; !ok {
							t.Errorf("%s is missing", f.Key)
						}
					}
					if len(r.Figures) > len(s.Figures) {
						t.Errorf("more than is announced: %v", r.Figures)
					}
				}
			})
		})
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range All() {
		if seen[s.Name] || s.Title == "" || s.Setting == "" || strings.ContainsAny(s.Name, " ,") {
			t.Errorf("%q: named twice, badly, or not described", s.Name)
		}
		seen[s.Name] = true
		for _, f := range s.Figures {
			if f.Chart != "" && (f.Main == "" || f.Better == "") {
				t.Errorf("%s %s is in the chart, but not in the table, or nobody knows what is better", s.Name, f.Key)
			}
		}
	}
}

// TestAllThere checks that what a comparison of hubs has to show is measured, and that a quick run shows the main things.
func TestAllThere(t *testing.T) {
	var all, quick []string
	for _, s := range All() {
		all = append(all, s.Name)
		if s.Quick() {
			quick = append(quick, s.Name)
		}
	}
	want := []string{"idle", "steady", "bursts", "sustained", "wide", "stalled", "topics", "compressed", "churn", "direct", "echo", "connect",
		"storm", "leave", "cluster-nats", "cluster-redis", "members"}
	if !slices.Equal(all, want) {
		t.Errorf("got %q, want %q", all, want)
	}
	if want := []string{"idle", "steady", "bursts", "wide", "compressed", "echo"}; !slices.Equal(quick, want) {
		t.Errorf("a quick run has %q, want %q", quick, want)
	}
}

func TestField(t *testing.T) {
	floor := Contender{Name: Floor, Topics: true, Direct: true}
	for name, want := range map[string]string{
		"idle": "wshub, wshub Each, gws", "steady": "wshub, gws, floor", "echo": "wshub, wshub Each", "churn": "wshub", "members": "wshub",
	} {
		var got []string
		for _, s := range All() {
			if s.Name != name {
				continue
			}
			for _, c := range s.Field([]Contender{everything, {Name: "gws"}, floor}) {
				got = append(got, c.Name)
			}
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %v instead of %s", name, got, want)
		}
	}
}

// TestWrongFrames checks that no figures come out of frames that are damaged or out of order.
func TestWrongFrames(t *testing.T) {
	for _, window := range []proto.Window{{Damaged: 1}, {Disorder: 1}} {
		for _, s := range All() {
			if slices.Contains([]string{"connect", "storm", "leave", "members"}, s.Name) {
				continue
			}
			t.Run(s.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := &world{window: window}
					r, err := s.Run(w.bench(), everything)
					if !errors.Is(err, ErrWrong) || r.Error == "" {
						t.Errorf("%v, %+v", err, r)
					}
					w.ended(t)
				})
			})
		}
	}
}

// TestLate is a server that does not come to the end of its publishes: what has come counts, and its CPU is asked of the
// system when it has been killed.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{hangs: true, capacity: 250_000}
		r, err := bursts.Run(w.bench(), everything)
		if err != nil {
			t.Fatal(err)
		}
		if r.Short != 0.75 || r.Figures["rate"] != 250_000 || r.Figures["cpu"] != 6e6/250_000 || len(r.Notes) != 1 {
			t.Errorf("%+v", r)
		}
		if _, ok := r.Figures["call"]; ok {
			t.Error("it is said how long a publish call took")
		}
		w.ended(t)
	})
}

// TestBehind is a server that comes to the end, but publishes at half the rate: its latencies are of another rate.
func TestBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := wide.Run((&world{slow: 2}).bench(), everything)
		if err != nil {
			t.Fatal(err)
		}
		if r.Short != 0.5 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "2.0 s instead of 1.0") {
			t.Errorf("%+v", r)
		}
		r, err = wide.Run((&world{slow: 1.05}).bench(), everything)
		if err != nil || r.Short != 0 || len(r.Notes) != 0 {
			t.Errorf("%v, %+v", err, r)
		}
	})
}

func TestSustained(t *testing.T) {
	for capacity, want := range map[float64]float64{10e3: 0, 26e3: 25e3, 450e3: 450e3, 499e3: 450e3, 1e9: offers[len(offers)-1]} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{capacity: capacity}
			r, err := sustained.Run(w.bench(), everything)
			if err != nil || r.Figures["rate"] != want {
				t.Errorf("of %v: %v, %v", capacity, r, err)
			}
			w.ended(t)
		})
	}
}

// TestStart checks that what does not start is reported, and that nothing stays behind.
func TestStart(t *testing.T) {
	for _, role := range []string{"server", "load", "broker", "members"} {
		for _, s := range All() {
			synctest.Test(t, func(t *testing.T) {
				w := new(world)
				if _, err := s.Run(w.bench(), everything); err != nil {
					t.Fatal(err)
				}
				needed := w.started(role) != ""
				w = &world{fails: role}
				if _, err := s.Run(w.bench(), everything); (err != nil) != needed {
					t.Errorf("%s without a %s: %v", s.Name, role, err)
				}
				w.ended(t)
			})
		}
	}
}

// TestFlags checks what a server is started with.
func TestFlags(t *testing.T) {
	each := everything
	each.Name, each.Each = Each, true
	for _, test := range []struct {
		scenario  Scenario
		contender Contender
		want      string
	}{
		{steady, everything, "-role server -contender wshub -compress=false -each=false -bus  -node "},
		{compressed, everything, "-role server -contender wshub -compress=true -each=false -bus  -node "},
		{idle, each, "-role server -contender wshub -compress=false -each=true -bus  -node "},
		{overNATS, everything, "-role server -contender wshub -compress=false -each=false -bus 127.0.0.1:1 -node node-0"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := new(world)
			if _, err := test.scenario.Run(w.bench(), test.contender); err != nil {
				t.Fatal(err)
			}
			if got := w.started("server"); got != test.want {
				t.Errorf("%s: %s", test.scenario.Name, got)
			}
		})
	}
}
