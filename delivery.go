package wshub

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/wshub-go/wshub/internal/fanout"
	"github.com/wshub-go/wshub/internal/queue"
)

// Delivery says where a value stands among those of its topic, so that a protocol for clients that come back can be
// built on top: a client that tells the epoch and the offset it has seen last can be told what it has missed, or that
// nobody knows.
type Delivery struct {
	Topic  string    // the topic's full name
	Node   string    // the id of the node that published the value: each node's are a sequence of their own
	Epoch  uint64    // of that sequence; offsets of different epochs have nothing to do with each other. Less than 1<<53
	Offset uint64    // the value's place in it, from 0 without gaps: also values that a member is not sent have theirs
	Time   time.Time // when it was encoded
}

// DeliveryCodec is a [Codec] that wants to know where each value stands. [WithCodec] then uses AppendDelivery, and
// never Append. Publishes of such a topic happen one at a time, since the place of a value depends on what was
// published before; a Publish that waits for its turn is bounded by its ctx, see [Topic.Publish].
//
// Offsets begin at 0 with each epoch. A new epoch begins, with a greater number, when the topic comes back after it had
// vanished, and when the program is started again.
//
// In a cluster the node that publishes a value says where it stands, among those that it has published itself: a member
// sees one sequence for each node that publishes, and values of different nodes in between each other. There a Publish
// that fails under [RequireBus] takes a place too.
type DeliveryCodec[T any] interface {
	Codec[T]
	// AppendDelivery is Append with the value's place.
	AppendDelivery(dst []byte, d Delivery, v T) ([]byte, Kind, error)
}

// encodeDelivery is encodeWith for a codec that wants to know. What it says holds as long as the caller has the topic's
// turn.
func encodeDelivery[T any](c DeliveryCodec[T]) encodeFunc {
	return func(st *topicState, e *queue.Entry) error {
		x := encoders.Get().(*encoder)
		defer x.free()
		d := Delivery{Topic: st.name, Node: st.hub.opts.node, Epoch: st.epoch.Load(), Offset: e.Offset, Time: time.Now()}
		b, kind, err := c.AppendDelivery(x.buf.AvailableBuffer(), d, *e.Value.(*T))
		if err != nil {
			return fmt.Errorf("encode: %w", err)
		}
		x.learn(len(b))
		return setFrame(e, kind, b)
	}
}

// nextOffset returns the offset of the next value. With a bus it is not the log's, which has values of other nodes too.
// Callers have the turn.
func (st *topicState) nextOffset(t *fanout.Topic) uint64 {
	if st.far != nil {
		return st.next
	}
	return t.Log().Head()
}

// turn is whose publish it is, in topics whose codec wants to know offsets. It is a channel and no lock: the codec runs
// in it, and a wait for it ends with the caller's context.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take waits for the turn. A call that need not wait ignores that its ctx is done.
func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	default:
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrPendingFull, context.Cause(ctx))
	}
}

func (t turn) give() { <-t }

// epochs numbers the logs of a hub's topics, greater than what an earlier process has given.
type epochs struct{ last atomic.Uint64 }

func (x *epochs) next() uint64 {
	for {
		last := x.last.Load()
		n := max(last+1, uint64(time.Now().UnixMicro()))
		if x.last.CompareAndSwap(last, n) { // nobody else has n
			return n
		}
	}
}
