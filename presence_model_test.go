package wshub_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub"
)

// model is what a watcher knows, by its list and the changes after it.
type model struct {
	stream *wshub.Stream[wshub.PresenceEvent]
	begun  chan struct{} // closed by the first event

	mu     sync.Mutex
	listed bool            // guarded by mu
	there  map[string]bool // guarded by mu
}

// watch keeps a model until its stream ends.
func watch(t *testing.T, w *wshub.Stream[wshub.PresenceEvent]) *model {
	m := &model{stream: w, begun: make(chan struct{}), there: map[string]bool{}}
	go func() { // ends with the stream
		for e := range w.C() {
			m.add(t, e)
		}
	}()
	return m
}

func (m *model) add(t *testing.T, e wshub.PresenceEvent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if (e.Kind == wshub.PresenceList) == m.listed {
		t.Errorf("%v, after a list: %v", e.Kind, m.listed)
	}
	if !m.listed {
		m.listed = true
		close(m.begun)
	}
	for _, x := range e.Members {
		if m.there[x.Session] != (e.Kind == wshub.PresenceLeft) {
			t.Errorf("%v %s, there: %v", e.Kind, x.Session, m.there[x.Session])
		}
		if e.Kind == wshub.PresenceLeft {
			delete(m.there, x.Session)
		} else {
			m.there[x.Session] = true
		}
	}
}

func (m *model) known() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.there))
}

// Sessions join, leave and go while watchers come and go: the list and what follows always add up to who is there.
func TestPresenceModel(t *testing.T) {
	for _, data := range []bool{false, true} {
		t.Run(fmt.Sprint("data ", data), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testPresenceModel(t, data) })
		})
	}
}

func testPresenceModel(t *testing.T, data bool) {
	opts := []wshub.Option{}
	if data {
		opts = append(opts, wshub.WithMember(func(s *wshub.Session) any { return s.ID() }))
	}
	h := newHub(t, opts...)
	topic := newTopic[string](t, h, "room", wshub.Policy{})
	for round := range 6 {
		ss, cc := sessions(t, h, 6)
		var mu sync.Mutex
		var models []*model // guarded by mu
		keep := func(m *model) {
			mu.Lock()
			models = append(models, m)
			mu.Unlock()
		}
		watchers := 3
		switch round % 3 {
		case 0: // watched from the start
			keep(watch(t, topic.Watch(t.Context())))
		case 1: // one after the other, each with a list of its own making
			watchers = 1
		}
		var watching, changing sync.WaitGroup
		var done atomic.Bool
		for i, s := range ss {
			for range 2 { // two that change the same session
				changing.Go(func() {
					for !done.Load() {
						if rand.IntN(2) == 0 {
							err := topic.Join(context.Background(), s)
							if err != nil && !errors.Is(err, wshub.ErrAlreadyMember) && !errors.Is(err, wshub.ErrSessionClosed) {
								t.Error(err)
							}
						} else {
							topic.Leave(s)
						}
						if rand.IntN(1000) == 0 {
							cc[i].Abort()
						}
						runtime.Gosched()
					}
				})
			}
		}
		for range watchers {
			watching.Go(func() {
				for i := range 100 {
					list, err := topic.Present(context.Background())
					if got := ids(list); err != nil || len(slices.Compact(got)) != len(list) {
						t.Errorf("somebody is there twice: %v, %v", list, err)
					}
					m := watch(t, topic.Watch(context.Background()))
					if <-m.begun; i%20 == 0 && watchers > 1 || i == 99 {
						keep(m)
					} else {
						m.stream.Close()
					}
				}
			})
		}
		watching.Wait()
		done.Store(true)
		changing.Wait()
		synctest.Wait()
		want := idsOf(slices.Collect(topic.Members())...)
		list, err := topic.Present(t.Context())
		if got := ids(list); err != nil || !slices.Equal(got, want) {
			t.Errorf("present %q, %v, want %q", got, err, want)
		}
		for _, m := range list {
			if data != (string(m.Data) == fmt.Sprintf("%q", m.Session)) {
				t.Errorf("data of %s: %s", m.Session, m.Data)
			}
		}
		for _, m := range models {
			if got := m.known(); !slices.Equal(got, want) || m.stream.Err() != nil {
				t.Errorf("watched %q, %v, want %q", got, m.stream.Err(), want)
			}
			m.stream.Close()
		}
		for _, c := range cc {
			c.Abort()
		}
		for _, s := range ss {
			<-s.Done()
		}
		if t.Failed() {
			return
		}
	}
}
