package clustertest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/wshub-go/wshub/cluster"
)

// The suite finds what it is there to find: each of these buses has one thing wrong, and fails the test that is named.
func TestDefects(t *testing.T) {
	nothing := func(*defective) {}
	for _, d := range []struct {
		name   string
		fails  string
		faults cluster.Faults
		breaks func(*defective)
	}{
		{"loses", "Order", cluster.Faults{Drop: 0.01}, nothing},
		{"repeats", "Order", cluster.Faults{Duplicate: 0.01}, nothing},
		{"reorders", "Order", cluster.Faults{Reorder: 0.01}, nothing},
		{"reorders few", "Batch", cluster.Faults{Reorder: 0.1}, nothing},
		{"repeats to all", "Fan", cluster.Faults{Duplicate: 1}, nothing},
		{"hears itself twice", "Self", cluster.Faults{}, func(d *defective) {
			d.receive = func(m cluster.Message) []cluster.Message {
				if string(m.Data) == "end" {
					return []cluster.Message{m}
				}
				return []cluster.Message{m, m}
			}
		}},
		{"sends nothing", "Delivery", cluster.Faults{}, func(d *defective) {
			d.publish = func(_ context.Context, m []cluster.Message) (int, error) { return len(m), nil }
		}},
		{"loses empty messages", "Data", cluster.Faults{}, func(d *defective) {
			d.receive = func(m cluster.Message) []cluster.Message {
				if len(m.Data) == 0 {
					return nil
				}
				return []cluster.Message{m}
			}
		}},
		{"trims", "Data", cluster.Faults{}, func(d *defective) {
			d.receive = func(m cluster.Message) []cluster.Message {
				m.Data = bytes.TrimSpace(m.Data)
				return []cluster.Message{m}
			}
		}},
		{"uses its buffer again", "Ownership", cluster.Faults{}, func(d *defective) {
			var buf [100]byte
			d.receive = func(m cluster.Message) []cluster.Message {
				m.Data = buf[:copy(buf[:], m.Data)]
				return []cluster.Message{m}
			}
		}},
		{"keeps the caller's bytes", "Ownership", cluster.Faults{}, func(d *defective) {
			var last []cluster.Message
			d.publish = func(ctx context.Context, m []cluster.Message) (int, error) {
				if last != nil {
					d.MemoryBus.Publish(ctx, last...)
				}
				last = m
				return len(m), nil
			}
		}},
		{"takes none of a batch with an error", "Batch", cluster.Faults{}, func(d *defective) {
			d.publish = func(ctx context.Context, m []cluster.Message) (int, error) {
				for _, m := range m {
					if err := cluster.CheckSubject(m.Subject); err != nil {
						return 0, err
					}
				}
				return d.MemoryBus.Publish(ctx, m...)
			}
		}},
		{"goes on after an error", "Batch", cluster.Faults{}, func(d *defective) {
			d.publish = func(ctx context.Context, m []cluster.Message) (int, error) {
				n, err := d.MemoryBus.Publish(ctx, m...)
				if err != nil && n+1 < len(m) {
					d.MemoryBus.Publish(ctx, m[n+1:]...)
				}
				return n, err
			}
		}},
		{"cuts off", "Large", cluster.Faults{}, func(d *defective) {
			d.receive = func(m cluster.Message) []cluster.Message {
				m.Data = m.Data[:min(len(m.Data), 64<<10)]
				return []cluster.Message{m}
			}
		}},
		{"takes what is too large", "TooLarge", cluster.Faults{}, func(d *defective) {
			d.publish = func(ctx context.Context, m []cluster.Message) (int, error) {
				n, err := d.MemoryBus.Publish(ctx, m...)
				if errors.Is(err, cluster.ErrTooLarge) {
					return n + 1, nil
				}
				return n, err
			}
		}},
		{"folds case", "Isolation", cluster.Faults{}, func(d *defective) {
			d.subject = strings.ToLower
		}},
		{"does not check subjects", "BadSubject", cluster.Faults{}, func(d *defective) {
			d.publish = func(ctx context.Context, m []cluster.Message) (int, error) {
				n, err := d.MemoryBus.Publish(ctx, m...)
				if errors.Is(err, cluster.ErrSubject) {
					return n + 1, nil
				}
				return n, err
			}
		}},
		{"subscribes to half", "BadSubject", cluster.Faults{}, func(d *defective) {
			d.subscribe = func(ctx context.Context, subjects []string) error {
				for _, s := range subjects {
					if err := d.MemoryBus.Subscribe(ctx, s); err != nil {
						return err
					}
				}
				return nil
			}
		}},
		{"shortens subjects", "LongSubject", cluster.Faults{}, func(d *defective) {
			d.subject = func(s string) string { return s[:min(len(s), 500)] }
		}},
		{"has a limit of subjects", "ManySubjects", cluster.Faults{}, func(d *defective) {
			n := 0
			d.subscribe = func(ctx context.Context, subjects []string) error {
				if n += len(subjects); n > 9000 {
					return nil
				}
				return d.MemoryBus.Subscribe(ctx, subjects...)
			}
		}},
		{"counts subscriptions", "DoubleSubscribe", cluster.Faults{}, func(d *defective) {
			var mu sync.Mutex
			n := map[string]int{}
			d.subscribe = func(ctx context.Context, subjects []string) error {
				mu.Lock()
				defer mu.Unlock()
				for _, s := range subjects {
					n[s]++
				}
				return d.MemoryBus.Subscribe(ctx, subjects...)
			}
			d.unsubscribe = func(ctx context.Context, subjects []string) error {
				mu.Lock()
				defer mu.Unlock()
				for _, s := range subjects {
					if n[s]--; n[s] == 0 {
						d.MemoryBus.Unsubscribe(ctx, s)
					}
				}
				return nil
			}
		}},
		{"never unsubscribes", "Unsubscribe", cluster.Faults{}, func(d *defective) {
			d.unsubscribe = func(context.Context, []string) error { return nil }
		}},
		{"unsubscribes late", "Unsubscribe", cluster.Faults{}, func(d *defective) {
			var late []string
			d.subscribe = func(ctx context.Context, subjects []string) error {
				err := d.MemoryBus.Subscribe(ctx, subjects...)
				d.MemoryBus.Unsubscribe(ctx, late...)
				return err
			}
			d.unsubscribe = func(_ context.Context, subjects []string) error {
				late = subjects
				return nil
			}
		}},
		{"nothing is an error", "Nothing", cluster.Faults{}, func(d *defective) {
			d.subscribe = func(ctx context.Context, subjects []string) error {
				if len(subjects) == 0 {
					return errors.New("no subjects")
				}
				return d.MemoryBus.Subscribe(ctx, subjects...)
			}
		}},
		{"has no contexts", "Context", cluster.Faults{}, func(d *defective) {
			d.publish = func(_ context.Context, m []cluster.Message) (int, error) {
				return d.MemoryBus.Publish(context.Background(), m...)
			}
		}},
		{"does not keep trying", "Context", cluster.Faults{}, func(d *defective) {
			d.subscribe = func(ctx context.Context, subjects []string) error {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				return d.MemoryBus.Subscribe(ctx, subjects...)
			}
		}},
		{"closes with a context", "Context", cluster.Faults{}, func(d *defective) {
			d.publish = func(ctx context.Context, m []cluster.Message) (int, error) {
				if ctx.Err() != nil {
					d.MemoryBus.Close()
					return 0, ctx.Err()
				}
				return d.MemoryBus.Publish(ctx, m...)
			}
		}},
		{"a channel for each call", "Channels", cluster.Faults{}, func(d *defective) {
			d.channel = func() <-chan cluster.Message { return make(chan cluster.Message) }
		}},
		{"leaves Receive open", "Close", cluster.Faults{}, func(d *defective) {
			d.channel = sync.OnceValue(func() <-chan cluster.Message {
				out := make(chan cluster.Message)
				go func() {
					defer close(out)
					for m := range d.MemoryBus.Receive() {
						out <- m
					}
					<-d.over
				}()
				return out
			})
		}},
		{"another error after Close", "Close", cluster.Faults{}, func(d *defective) {
			d.unsubscribe = func(ctx context.Context, subjects []string) error {
				if d.MemoryBus.Unsubscribe(ctx, subjects...) != nil {
					return errors.New("bad state")
				}
				return nil
			}
		}},
		{"Close works once", "ConcurrentClose", cluster.Faults{}, func(d *defective) {
			var once sync.Mutex
			d.close = func() error {
				if !once.TryLock() {
					<-d.over
				}
				return d.MemoryBus.Close()
			}
		}},
		{"is silent about losses", "Slow", cluster.Faults{}, func(d *defective) {
			d.status = func(st cluster.Status) cluster.Status {
				st.Lost = 0
				return st
			}
		}},
		{"waits while it is down", "Down", cluster.Faults{}, func(d *defective) {
			d.publish = func(ctx context.Context, m []cluster.Message) (int, error) {
				n, err := d.MemoryBus.Publish(ctx, m...)
				if errors.Is(err, cluster.ErrDown) {
					<-d.over
				}
				return n, err
			}
		}},
		{"saves up while it is down", "Down", cluster.Faults{}, func(d *defective) {
			d.publish = func(ctx context.Context, m []cluster.Message) (int, error) {
				n, err := d.MemoryBus.Publish(ctx, m...)
				if errors.Is(err, cluster.ErrDown) {
					return len(m), nil
				}
				return n, err
			}
		}},
		{"forgets what was asked while it was down", "Reconnect", cluster.Faults{}, func(d *defective) {
			d.subscribe = func(ctx context.Context, subjects []string) error {
				err := d.MemoryBus.Subscribe(ctx, subjects...)
				if errors.Is(err, cluster.ErrDown) {
					d.MemoryBus.Unsubscribe(ctx, subjects...)
				}
				return err
			}
		}},
		{"does not unsubscribe while it is down", "Reconnect", cluster.Faults{}, func(d *defective) {
			d.unsubscribe = func(ctx context.Context, subjects []string) error {
				if _, err := d.MemoryBus.Publish(ctx, cluster.Message{Subject: "x"}); err != nil {
					return err
				}
				return d.MemoryBus.Unsubscribe(ctx, subjects...)
			}
		}},
		{"sends again", "OrderAcross", cluster.Faults{}, func(d *defective) {
			var last []cluster.Message
			d.publish = func(ctx context.Context, m []cluster.Message) (int, error) {
				n, err := d.MemoryBus.Publish(ctx, m...)
				if errors.Is(err, cluster.ErrDown) {
					last = m
				} else if last != nil {
					d.MemoryBus.Publish(ctx, last...)
					last = nil
				}
				return n, err
			}
		}},
		{"Close waits for the broker", "CloseDown", cluster.Faults{}, func(d *defective) {
			d.close = func() error {
				if _, err := d.MemoryBus.Publish(context.Background(), cluster.Message{Subject: "x"}); errors.Is(err, cluster.ErrDown) {
					<-d.over
				}
				return d.MemoryBus.Close()
			}
		}},
		{"leaves a goroutine", "Leak", cluster.Faults{}, func(d *defective) {
			go func() { <-d.over }()
		}},
		{"leaves a goroutine when it is closed down", "LeakDown", cluster.Faults{}, func(d *defective) {
			d.close = func() error {
				if _, err := d.MemoryBus.Publish(context.Background(), cluster.Message{Subject: "x"}); errors.Is(err, cluster.ErrDown) {
					go func() { <-d.over }()
				}
				return d.MemoryBus.Close()
			}
		}},
	} {
		t.Run(d.name, func(t *testing.T) {
			for _, test := range tests {
				if test.name != d.fails {
					continue
				}
				failures := runDefective(t, test.run, d.faults, d.breaks)
				if len(failures) == 0 {
					t.Errorf("%s has not failed", d.fails)
				}
				t.Logf("%s: %.200q", d.fails, failures)
				return
			}
			t.Errorf("there is no test %s", d.fails)
		})
	}
}
