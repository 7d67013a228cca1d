package scenario

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// options are how a server is started.
type options struct {
	compress  bool
	bus, node string
	places    int // topics that each client is in; 0 is 1
}

func (o options) topics() int { return max(o.places, 1) }

// A stage is a contender's servers, most often one, and the load. Its methods must not be called concurrently.
type stage struct {
	bench     *Bench
	contender Contender
	options   options
	servers   []*Child
	addrs     []string
	load      *Child
	clients   int    // connected in all
	window    uint32 // the last one
}

// stage starts a server for each node, one if there are none, and a load. The caller must close the stage.
func (b *Bench) stage(c Contender, o options, nodes ...string) (s *stage, err error) {
	s = &stage{bench: b, contender: c, options: o}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if len(nodes) == 0 {
		nodes = []string{""}
	}
	for _, node := range nodes {
		server, ready, err := b.server(c, options{compress: o.compress, bus: o.bus, node: node})
		if err != nil {
			return s, err
		}
		s.servers, s.addrs = append(s.servers, server), append(s.addrs, ready.Addr)
	}
	s.load, err = b.Start("-role", "load")
	if err != nil {
		return s, fmt.Errorf("start the load: %w", err)
	}
	return s, nil
}

func (b *Bench) server(c Contender, o options) (*Child, proto.Ready, error) {
	name := c.Name
	if c.Each {
		name = Wshub
	}
	server, err := b.Start("-role", "server", "-contender", name, "-compress="+strconv.FormatBool(o.compress),
		"-each="+strconv.FormatBool(c.Each), "-bus", o.bus, "-node", o.node)
	if err != nil {
		return nil, proto.Ready{}, fmt.Errorf("start the server: %w", err)
	}
	ready, err := server.Ready()
	if err != nil {
		server.Close()
		return nil, ready, fmt.Errorf("start the server: %w", err)
	}
	return server, ready, nil
}

// close ends the processes, the load first: what a server has to say to clients that nobody reads does not matter.
func (s *stage) close() {
	if s.load != nil {
		s.load.Kill()
	}
	for _, server := range s.servers {
		server.Kill()
	}
}

// server is the only one.
func (s *stage) server() *Child { return s.servers[0] }

// stats asks the only server.
func (s *stage) stats(gc bool) (st proto.Stats, err error) {
	return st, s.server().Do(proto.DoStats, proto.StatsOf{GC: gc}, &st)
}

// dial connects n more clients and waits until the servers have joined them all.
func (s *stage) dial(n, topics int) (d proto.Dialed, err error) {
	args := proto.Dial{
		Addrs: s.addrs, N: n, Topics: topics, Places: s.options.places, Compress: s.options.compress, Dialect: s.contender.Dialect,
	}
	if err := s.load.Do(proto.DoDial, args, &d); err != nil {
		return d, err
	}
	if d.Failed > 0 {
		return d, fmt.Errorf("%d of %d clients could not connect: %s", d.Failed, n, d.FirstErr)
	}
	s.clients += n
	return d, s.wait(s.clients, 10*time.Second)
}

// wait polls the servers until they have exactly n clients, each in its topics.
func (s *stage) wait(n int, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		clients, joins := 0, 0
		for _, server := range s.servers {
			var st proto.Stats
			if err := server.Do(proto.DoStats, proto.StatsOf{}, &st); err != nil {
				return err
			}
			clients, joins = clients+st.Clients, joins+st.Joins
		}
		if clients == n && joins == n*s.options.topics() {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d clients with %d joins after %v instead of %d with %d", clients, joins, limit, n, n*s.options.topics())
		}
		time.Sleep(2 * time.Millisecond) // a server tells nobody
	}
}

// hang ends the last n clients, all for 0, without a word, and returns how long it took the server to forget them.
func (s *stage) hang(n int) (time.Duration, error) {
	start := time.Now()
	if err := s.load.Do(proto.DoHang, proto.Hang{N: n, Abort: true}, nil); err != nil {
		return 0, err
	}
	if n == 0 {
		n = s.clients
	}
	s.clients -= n
	err := s.wait(s.clients, 30*time.Second)
	return time.Since(start), err
}

// measured is what came of a window.
type measured struct {
	proto.Window
	published proto.Published // nothing if late
	expected  int64           // frames
	cpu       float64         // seconds of the server
	due       time.Duration   // how long publishing was to take
	late      bool            // the server was still publishing when the time was over; it has been killed
}

// measure publishes p, each of which is to reach audience clients, in a window b, and waits for the frames until patience
// after the last was due. It fails with [ErrWrong] on frames that are damaged or in disorder.
func (s *stage) measure(b proto.Begin, p proto.Publish, audience int, patience time.Duration) (m measured, err error) {
	if err := s.begin(&b, &p); err != nil {
		return m, err
	}
	before, err := s.stats(false)
	if err != nil {
		return m, err
	}
	if m, err = s.publish(p, audience, patience); err != nil {
		return m, err
	}
	err = s.used(&m, before)
	return m, err
}

// begin gives the window its number and begins it.
func (s *stage) begin(b *proto.Begin, p *proto.Publish) error {
	s.window++
	b.Window, b.Size, p.Window = s.window, p.Size, s.window
	b.Direct = p.Direct > 0
	return s.load.Do(proto.DoBegin, b, nil)
}

// publish does so and ends the window.
func (s *stage) publish(p proto.Publish, audience int, patience time.Duration) (m measured, err error) {
	deadline := time.Now().Add(due(p) + patience)
	if m, err = s.publishOnly(p, audience, patience); err != nil {
		return m, err
	}
	err = s.endWindow(&m, time.Until(deadline))
	return m, err
}

// publishOnly publishes, until patience after the last was due at the longest.
func (s *stage) publishOnly(p proto.Publish, audience int, patience time.Duration) (m measured, err error) {
	m.expected, m.due = int64(p.Count)*int64(audience), due(p)
	err = s.server().DoWithin(m.due+patience, proto.DoPublish, p, &m.published)
	if errors.Is(err, ErrLate) {
		m.late, err = true, nil
	}
	return m, err
}

// due is how long publishing p is to take.
func due(p proto.Publish) time.Duration {
	return time.Duration(float64(p.Count) / p.Rate * float64(time.Second))
}

// endWindow waits for the frames.
func (s *stage) endWindow(m *measured, timeout time.Duration) error {
	end := proto.End{Frames: m.expected, Quiet: 1, Timeout: max(timeout, 10*time.Millisecond).Seconds()}
	if err := s.load.Do(proto.DoEnd, end, &m.Window); err != nil {
		return err
	}
	return wrong(m.Window)
}

// used sets what CPU the server has used since before.
func (s *stage) used(m *measured, before proto.Stats) error {
	if m.late {
		m.cpu = s.server().Kill() - before.CPU
		return nil
	}
	after, err := s.stats(false)
	m.cpu = after.CPU - before.CPU
	return err
}

func wrong(w proto.Window) error {
	if w.Damaged > 0 || w.Disorder > 0 {
		return fmt.Errorf("%w: %d damaged, %d in disorder, of %d", ErrWrong, w.Damaged, w.Disorder, w.Frames)
	}
	return nil
}

// short is the share of the frames that did not come, or that were not published when they should have been: a server that
// cannot publish at the rate that is asked for has latencies of another rate.
func (m measured) short() float64 {
	s := max(0, 1-float64(m.Frames)/float64(max(m.expected, 1)))
	if m.behind() {
		s = max(s, 1-m.due.Seconds()/m.published.Seconds)
	}
	return s
}

// behind tells whether publishing took clearly longer than it should have.
func (m measured) behind() bool {
	return m.published.Seconds > 1.1*m.due.Seconds() && m.published.Seconds-m.due.Seconds() > 0.05
}

// perSecond is how many frames came a second: never more than were offered.
func (m measured) perSecond() float64 {
	return float64(m.Frames) / max(m.Seconds, m.due.Seconds(), 1e-9)
}

// perFrame is the server's CPU for each frame that came, in microseconds.
func (m measured) perFrame() float64 { return m.cpu * 1e6 / float64(max(m.Frames, 1)) }

// result returns the figures of deliveries, which all but few scenarios have; see [deliveries].
func (m measured) result() Result {
	r := Result{Figures: map[string]float64{
		"rate": m.perSecond(),
		"cpu":  m.perFrame(),
		"p50":  ms(m.Latency.P50),
		"p99":  ms(m.Latency.P99),
		"p999": ms(m.Latency.P999),
		"max":  ms(m.Latency.Max),
	}, Short: m.short()}
	if !m.late {
		r.Figures["call"] = µs(m.published.Call.P99)
	} else {
		r.note("publishing took longer than the time there was")
	}
	m.notes(&r)
	return r
}

// notes adds what a reader should know.
func (m measured) notes(r *Result) {
	if m.behind() {
		r.note("publishing took %.1f s instead of %.1f", m.published.Seconds, m.due.Seconds())
	}
	if m.Missing > 0 {
		r.note("%d frames were dropped", m.Missing)
	}
	if m.Lost > 0 {
		r.note("%d clients were disconnected", m.Lost)
	}
	if busy := m.CPU / max(m.Seconds, m.due.Seconds()); busy > 0.9 {
		r.note("the load was busy for %.0f %% of the time", 100*busy)
	}
}

func (r *Result) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func ms(ns int64) float64 { return float64(ns) / 1e6 }
func µs(ns int64) float64 { return float64(ns) / 1e3 }
