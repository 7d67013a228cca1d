package mesh

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// planeHost writes down what the data plane tells it.
type planeHost struct {
	Host // nothing else is called

	mu       sync.Mutex
	said     []string
	gaps     []string
	refused  []error
	failed   int
	told     int // calls of Failed
	cause    error
	states   []cluster.Status
	sessions map[string]bool
}

func (h *planeHost) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, fmt.Sprintf(format, args...))
}

func (h *planeHost) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	said := h.said
	h.said = nil
	return said
}

func (h *planeHost) takeGaps() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	gaps := strings.Join(h.gaps, " ")
	h.gaps = nil
	return gaps
}

func (h *planeHost) Sessions() int           { return 0 }
func (h *planeHost) UserSessions(string) int { return 0 }
func (h *planeHost) HasSession(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[id]
}
func (h *planeHost) Deliver(to To, m Payload) {
	h.note("deliver %d %q %t %q", to.Kind, to.ID, m.Binary, m.Data)
}
func (h *planeHost) Kick(to To, code uint16, reason string) {
	h.note("kick %d %q %d %q", to.Kind, to.ID, code, reason)
}
func (h *planeHost) Leave(to To, topic string) { h.note("leave %d %q %q", to.Kind, to.ID, topic) }
func (h *planeHost) Gap(g Gap) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gaps = append(h.gaps, fmt.Sprintf("%s:%d-%d", g.Topic, g.From, g.To))
}
func (h *planeHost) Bus(s cluster.Status) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.states = append(h.states, s)
}
func (h *planeHost) Conflict(string) {}
func (h *planeHost) Refused(cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused = append(h.refused, cause)
}
func (h *planeHost) Failed(n int, cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed += n
	h.told++
	h.cause = cause
}

// planeTopic keeps the values that it receives.
type planeTopic struct {
	mu     sync.Mutex
	values []Value
}

func (t *planeTopic) Len() int { return 0 }

func (t *planeTopic) Receive(v Value) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.values = append(t.values, v)
}

func (t *planeTopic) take() []Value {
	t.mu.Lock()
	defer t.mu.Unlock()
	values := t.values
	t.values = nil
	return values
}

// numbers returns the numbers of the values received since the last call.
func (t *planeTopic) numbers() string {
	var n []string
	for _, v := range t.take() {
		n = append(n, fmt.Sprint(v.Number))
	}
	return strings.Join(n, " ")
}

// plane is a node of a test.
type plane struct {
	*Node
	host     *planeHost
	everyone *planeTopic
}

// newPlane starts a node on a bus and waits until it listens. It must be in a bubble.
func newPlane(t testing.TB, bus cluster.Bus, change ...func(*Config)) plane {
	t.Helper()
	p := plane{host: &planeHost{sessions: map[string]bool{}}, everyone: &planeTopic{}}
	c := Config{Bus: bus, Node: "here", Interval: 5 * time.Second, Host: p.host, Everyone: p.everyone}
	for _, f := range change {
		f(&c)
	}
	p.Node = New(c)
	synctest.Wait()
	t.Cleanup(func() { p.Close(context.Background()) })
	return p
}

// onLoop has the loop call f, and waits.
func (p plane) onLoop(f func()) {
	p.do(f)
	synctest.Wait()
}

// raw is an origin that is made by hand.
type raw struct {
	t      testing.TB
	bus    cluster.Bus
	origin Origin
}

func newRaw(t testing.TB, bus cluster.Bus, o Origin) raw {
	t.Cleanup(func() { bus.Close() })
	return raw{t, bus, o}
}

func (r raw) publish(subject string, data []byte) {
	r.t.Helper()
	if _, err := r.bus.Publish(context.Background(), cluster.Message{Subject: subject, Data: data}); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

func (r raw) send(subject string, e envelope) {
	r.t.Helper()
	e.origin = r.origin
	e.time = time.Now().UnixNano()
	r.publish(subject, e.append(nil))
}

func (r raw) value(subject string, epoch, number uint64) {
	r.t.Helper()
	r.send(subject, envelope{kind: kindValue, epoch: epoch, number: number, payload: []byte("x")})
}

// newMemory returns a broker that is closed at the end, after all that was registered later.
func newMemory(t testing.TB, options ...cluster.MemoryOption) *cluster.Memory {
	m := cluster.NewMemory(options...)
	t.Cleanup(m.Close)
	return m
}

// scripted is a bus that can be made to fail or to wait.
type scripted struct {
	cluster.Bus
	mu          sync.Mutex
	publish     func(ctx context.Context, m []cluster.Message) (int, error) // instead of the bus's, when not nil
	subscribe   func(ctx context.Context, subjects []string) error
	unsubscribe func(ctx context.Context, subjects []string) error
}

func (s *scripted) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *scripted) Publish(ctx context.Context, m ...cluster.Message) (int, error) {
	s.mu.Lock()
	f := s.publish
	s.mu.Unlock()
	if f != nil {
		return f(ctx, m)
	}
	return s.Bus.Publish(ctx, m...)
}

func (s *scripted) Subscribe(ctx context.Context, subjects ...string) error {
	s.mu.Lock()
	f := s.subscribe
	s.mu.Unlock()
	if f != nil {
		return f(ctx, subjects)
	}
	return s.Bus.Subscribe(ctx, subjects...)
}

func (s *scripted) Unsubscribe(ctx context.Context, subjects ...string) error {
	s.mu.Lock()
	f := s.unsubscribe
	s.mu.Unlock()
	if f != nil {
		return f(ctx, subjects)
	}
	return s.Bus.Unsubscribe(ctx, subjects...)
}
