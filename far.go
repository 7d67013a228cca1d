package wshub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/wshub-go/wshub/internal/fanout"
	"github.com/wshub-go/wshub/internal/mesh"
	"github.com/wshub-go/wshub/internal/queue"
	"github.com/wshub-go/wshub/internal/wire"
)

// farTopic is the part that a topic, or everyone, has in the cluster: through it goes out what is published here, and
// comes in what other nodes have published.
//
// What comes in is appended where it is received, by the goroutine that reads the bus, which waits for nothing and runs
// nothing of the user's. A value for which there is no room, or whose key has to be decoded, waits in line, and so does
// all that comes behind it; a goroutine works the line off, as a Publish that waits would. The line is bounded as the
// log is, by [Limits].Pending and PendingBytes. What does not fit is a gap, as if the bus had lost it.
type farTopic struct {
	*mesh.Topic // immutable once New, or registry.get, has returned
	hub         *Hub
	st          *topicState // nil: everyone

	line line[*arrival]

	mu   sync.Mutex
	lost map[mesh.Origin]loss // what did not fit and was not told yet; guarded by mu
}

// joinMesh gives st its part in the cluster.
func (st *topicState) joinMesh() {
	st.epoch.Store(st.hub.reg.epochs.next())
	st.far = &farTopic{hub: st.hub, st: st}
	st.far.Topic = st.hub.mesh.Topic(st.name, st.epoch.Load(), st.far)
}

// await has the bus listen to the topic before somebody is the first here to join it, so that what other nodes publish
// after the join is received.
func (st *topicState) await(ctx context.Context) {
	if st.far != nil {
		st.open()
		st.far.Await(ctx)
	}
}

// changed is called after the number of members has changed.
func (st *topicState) changed() {
	if st.far != nil {
		st.far.Changed()
	}
}

// publishFar gives e, which has its frame, to the log here and to other nodes: to them first when the policy wants to
// know that they get it. t is nil when nobody is here.
func (st *topicState) publishFar(ctx context.Context, t *fanout.Topic, e *queue.Entry) error {
	sure := st.def.policy.requireBus
	out, err := st.outgoing(e)
	if err != nil {
		return err
	}
	if sure {
		if st.turn != nil {
			st.next++ // of a value that has failed nobody knows where it has come
		}
		if err := st.far.PublishSure(ctx, out); err != nil {
			return fmt.Errorf("%w: %w", ErrBus, err)
		}
	}
	if t != nil {
		if err := st.appendHere(ctx, t, e); err != nil {
			return err
		}
	}
	if !sure {
		if st.turn != nil {
			st.next++
		}
		st.far.Publish(out)
	}
	return nil
}

// outgoing is e, which has its frame, for other nodes.
func (st *topicState) outgoing(e *queue.Entry) (mesh.Outgoing, error) {
	out := mesh.Outgoing{Payload: payloadOf(&e.Frame)}
	if e.Key != nil && st.def.keyOut != nil {
		out.Key = st.def.keyOut(e.Key)
	}
	if e.Key != nil && out.Key == nil && st.def.decode == nil {
		return out, fmt.Errorf("%w, and a string of more than %d bytes does not travel as a key", ErrNoDecode, maxKeyText)
	}
	return out, nil
}

// payloadOf is a frame's message for other nodes. The bytes are the frame's.
func payloadOf(f *wire.Frame) mesh.Payload {
	return mesh.Payload{Binary: f.Op() == wire.OpBinary, Data: f.Payload()}
}

func kindOf(p mesh.Payload) Kind {
	if p.Binary {
		return KindBinary
	}
	return KindText
}

// arrival is a value of another node. The three are one allocation.
type arrival struct {
	e     queue.Entry
	value farValue
	of    mesh.Origin
	n     uint64 // its number
}

// loss is values of one node that were received and did not fit.
type loss struct{ from, to, n uint64 }

// Len returns how many members there are here.
func (f *farTopic) Len() int {
	if f.st == nil {
		return f.hub.table.len()
	}
	if t := f.st.live.Load(); t != nil {
		return t.Sockets()
	}
	return 0
}

// Receive takes a value of another node. Only the goroutine that reads the bus calls it.
func (f *farTopic) Receive(v mesh.Value) {
	if f.hub.closedErr() != nil || f.log() == nil {
		return
	}
	kind := kindOf(v.Payload)
	if f.st != nil && f.st.def.kind != 0 && f.st.def.kind != kind || kind == KindText && !utf8.Valid(v.Data) {
		f.hub.counts.invalid.Add(1)
		return
	}
	a := &arrival{of: v.Origin, n: v.Number}
	a.value = farValue{st: f.st, msg: Message{Kind: kind, Data: v.Data}}
	if f.st != nil {
		a.e.Value = &a.value
		if keyIn := f.st.def.keyIn; keyIn != nil && v.Key != nil {
			a.e.Key = keyIn(v.Key)
		}
	}
	if a.undecided() || f.line.busy() { // nobody else makes it busy meanwhile
		f.enqueue(a)
		return
	}
	f.settle(a, f.append(a, func(t *fanout.Topic, e *queue.Entry) error { return t.TryPublish(e) }))
}

// undecided reports whether a has a key that nobody knows yet.
func (a *arrival) undecided() bool {
	return a.e.Key == nil && a.value.st != nil && a.value.st.def.key != nil
}

// settle looks at what came of an attempt to append a.
func (f *farTopic) settle(a *arrival, err error) {
	switch {
	case err == nil:
	case errors.Is(err, queue.ErrFull):
		f.enqueue(a)
	case errors.Is(err, queue.ErrKeys): // there was no room for its key
		f.tell(a.of, loss{a.n, a.n, 1})
	default:
		f.hub.counts.invalid.Add(1)
	}
}

// append makes a an entry of the log, if there still is one, with the given way to publish it.
func (f *farTopic) append(a *arrival, publish func(*fanout.Topic, *queue.Entry) error) error {
	if st := f.st; st != nil && st.def.history {
		st.pubs.Add(1) // from here on vacate leaves the log alone
		defer func() {
			if st.pubs.Add(-1) == 0 {
				if t := st.live.Load(); t != nil && t.Len() == 0 {
					st.vacate()
				}
			}
		}()
	}
	t := f.log()
	if t == nil {
		return nil
	}
	if f.st == nil || t.WantsFrame() {
		a.frame()
	} else if a.e.Frame.IsZero() {
		a.e.Size = len(a.value.msg.Data)
	}
	err := publish(t, &a.e)
	if errors.Is(err, fanout.ErrWantFrame) { // a session joined since
		a.frame()
		err = publish(t, &a.e)
	}
	return err
}

// frame gives the entry its frame. What is decoded later is decoded from there, so that the bytes are there once.
func (a *arrival) frame() {
	if !a.e.Frame.IsZero() {
		return
	}
	a.e.Frame.Init(wire.Opcode(a.value.msg.Kind), a.value.msg.Data)
	a.e.Size = a.e.Frame.Len()
	a.value.msg.Data = a.e.Frame.Payload()
}

// log returns where values go, nil when nobody is here for them.
func (f *farTopic) log() *fanout.Topic {
	st := f.st
	if st == nil {
		return f.hub.everyone
	}
	t := st.live.Load()
	if t == nil && st.def.history { // vacate takes it away to look, and may put it back
		st.mu.Lock()
		t = st.live.Load()
		st.mu.Unlock()
	}
	return t
}

func (f *farTopic) name() string {
	if f.st == nil {
		return ""
	}
	return f.st.name
}

// enqueue puts a at the end of the line, or notes that it is lost.
func (f *farTopic) enqueue(a *arrival) {
	limits := &f.hub.opts.limits
	switch start, ok := f.line.put(a, len(a.value.msg.Data), limits.Pending, limits.PendingBytes); {
	case !ok:
		f.lose(a)
	case start && f.hub.tasks.enter():
		go f.work() // owner: the hub; ends when nothing is in line, or the hub is closed
	case start: // closed: nobody waits for it any more
		f.line.drop()
	}
}

// lose adds a to what was lost: one gap for each node. Whoever makes room in the line, which is full, tells it.
func (f *farTopic) lose(a *arrival) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, known := f.lost[a.of]
	if !known {
		if f.lost == nil {
			f.lost = make(map[mesh.Origin]loss)
		}
		l.from = a.n
	}
	l.to, l.n = a.n, l.n+1
	f.lost[a.of] = l
}

// tellLost tells what was lost.
func (f *farTopic) tellLost() {
	f.mu.Lock()
	lost := f.lost
	f.lost = nil
	f.mu.Unlock()
	for of, l := range lost {
		f.tell(of, l)
	}
}

// tell tells of values that did not fit, as of those that the bus has lost.
func (f *farTopic) tell(of mesh.Origin, l loss) {
	h := f.hub
	h.counts.farGaps.Add(1)
	h.counts.farMissing.Add(l.n)
	if h.wanted(EventGap) {
		h.emit(Event{Kind: EventGap, Origin: h.nodeOf(of), Topic: f.name(), From: l.from, To: l.to, N: l.n})
	}
}

// work appends what is in line.
func (f *farTopic) work() {
	defer f.hub.tasks.leave()
	for {
		f.tellLost()
		a, ok := f.line.next()
		if !ok {
			return
		}
		if a.undecided() {
			key, ok := a.value.key()
			if !ok { // it was counted
				continue
			}
			a.e.Key = key
		}
		err := f.append(a, func(t *fanout.Topic, e *queue.Entry) error { return t.Publish(f.hub.over, e) })
		if err != nil && f.hub.over.Err() != nil {
			f.line.drop()
			return
		}
		f.settle(a, err)
	}
}
