package mesh

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

const (
	// linger is how long a subject is listened to after nobody wants it any more.
	linger = 5 * time.Second
	// awaitAtMost bounds Await.
	awaitAtMost = time.Second
	// subscribeTimeout bounds one call of the bus.
	subscribeTimeout = 5 * time.Second
	// retryAfter is when the keeper asks again, while the bus is not down, for what it could not have.
	retryAfter = time.Second
)

// interest is a subject that the bus listens to, or will.
type interest struct {
	subject string // immutable
	values  bool   // whether it is a topic's; immutable

	to      recipient     // guarded by keeper.mu
	has     time.Time     // since when the bus has it, zero: it has not; guarded by keeper.mu
	ready   []func()      // for the loop to call once the bus has it; guarded by keeper.mu
	wait    chan struct{} // when not nil, closed once the bus has it or never will; guarded by keeper.mu
	until   time.Time     // when to drop it, while nobody wants it; guarded by keeper.mu
	lingers bool          // is in keeper.lingering; guarded by keeper.mu
	absent  bool          // the bus was not asked for it, or to take it away: to be subscribed once it is wanted; guarded by keeper.mu

	origins []baseline // the loop's
}

// recipient is who gets what is received on a subject.
type recipient struct {
	wanted bool
	topic  *Topic // of a topic that is wanted
	user   string // of a user
}

// keeper keeps the bus listening to what is wanted. Its goroutine is there while subjects are to be added or taken away.
type keeper struct {
	n    *Node
	wake chan struct{} // room for one

	mu        sync.Mutex
	all       map[string]*interest // by subject; guarded by mu
	add       []*interest          // to be subscribed; guarded by mu
	unsure    []*interest          // could not be; guarded by mu
	again     time.Time            // when to try unsure, zero: once the bus is up; guarded by mu
	lingering []*interest          // not wanted any more, about in the order of until; guarded by mu
	running   bool                 // whether the goroutine is there; guarded by mu
	closed    bool                 // guarded by mu
}

func (k *keeper) init(n *Node) {
	k.n = n
	k.wake = make(chan struct{}, 1)
	k.all = make(map[string]*interest)
}

// want has the bus listen to a subject until unwant; the loop calls ready, unless it is nil, once the bus does. They are
// called in turns for one subject. Any goroutine may call them; they do not wait.
func (n *Node) want(subject string, ready func()) { n.keep.want(subject, nil, "", ready) }
func (n *Node) unwant(subject string)             { n.keep.unwant(subject, nil) }

func (k *keeper) want(subject string, t *Topic, user string, ready func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wantLocked(subject, t, user, ready)
}

// wantAlways wants what every node does, in one call of the bus; the loop calls ready once the bus has it.
func (k *keeper) wantAlways(ready func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wantLocked(subjectControl, nil, "", nil)
	k.wantLocked(k.n.subject, nil, "", nil)
	k.wantLocked(k.n.everyone.subject, k.n.everyone, "", ready)
}

func (k *keeper) wantLocked(subject string, t *Topic, user string, ready func()) {
	if k.closed {
		return
	}
	i := k.all[subject]
	if i == nil {
		i = &interest{subject: subject, values: t != nil, absent: true}
		k.all[subject] = i
	}
	if i.absent {
		i.absent = false
		k.add = append(k.add, i)
		k.startLocked()
	}
	i.to = recipient{wanted: true, topic: t, user: user}
	switch {
	case ready == nil:
	case i.has.IsZero():
		i.ready = append(i.ready, ready)
	default:
		k.n.do(ready)
	}
}

// unwant does nothing when another topic than t wants the subject by now.
func (k *keeper) unwant(subject string, t *Topic) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := k.all[subject]
	if i == nil || i.to.topic != t {
		return
	}
	i.to = recipient{}
	i.ready = nil
	k.lingerLocked(i)
}

func (k *keeper) lingerLocked(i *interest) {
	i.until = time.Now().Add(linger)
	if i.lingers || k.closed {
		return
	}
	i.lingers = true
	k.lingering = append(k.lingering, i)
	k.startLocked()
}

// lookup returns who gets what is received on a subject.
func (k *keeper) lookup(subject string) (*interest, recipient) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := k.all[subject]
	if i == nil {
		return nil, recipient{}
	}
	return i, i.to
}

// since returns when the bus began to listen, zero if it does not.
func (k *keeper) since(i *interest) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return i.has
}

func (k *keeper) await(ctx context.Context, subject string) {
	if k.n.isDown() {
		return
	}
	k.mu.Lock()
	i := k.all[subject]
	if i == nil || k.closed || !i.has.IsZero() {
		k.mu.Unlock()
		return
	}
	if i.wait == nil {
		i.wait = make(chan struct{})
	}
	wait := i.wait
	k.mu.Unlock()
	timer := time.NewTimer(awaitAtMost)
	defer timer.Stop()
	select {
	case <-wait:
	case <-ctx.Done():
	case <-timer.C:
	case <-k.n.closing:
	}
}

// retry asks the bus, which is up again, for what it could not have. It would come by itself; but only its answer tells when.
func (k *keeper) retry() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.retryLocked()
}

func (k *keeper) retryLocked() {
	before := len(k.add)
	for _, i := range k.unsure {
		if k.all[i.subject] == i { // it was not dropped since
			k.add = append(k.add, i)
		}
	}
	k.unsure, k.again = nil, time.Time{}
	if len(k.add) > before {
		k.startLocked()
	}
}

// close has the goroutine end soon.
func (k *keeper) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	k.nudge()
}

func (k *keeper) startLocked() {
	if !k.running && !k.closed {
		k.running = true
		k.n.wg.Add(1)
		go k.run()
		return
	}
	k.nudge()
}

func (k *keeper) nudge() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run adds and takes away what there is, in batches, until nothing is left to do or to wait for. startLocked starts it.
func (k *keeper) run() {
	defer k.n.wg.Done()
	for {
		add, drop, wait, done := k.next()
		if done {
			return
		}
		if len(add) == 0 && len(drop) == 0 {
			k.sleep(wait)
			continue
		}
		if len(add) > 0 {
			k.subscribe(add)
		}
		if len(drop) > 0 {
			k.unsubscribe(drop)
		}
	}
}

// next returns what is to be done now, else how long to wait. An interest that it has to be dropped is forgotten: whoever
// wants the subject from now on has it subscribed again, after that.
func (k *keeper) next() (add, drop []*interest, wait time.Duration, done bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if !k.again.IsZero() && !now.Before(k.again) {
		k.retryLocked()
	}
	add, k.add = k.add, nil
	for len(k.lingering) > 0 && !k.closed {
		i := k.lingering[0]
		if !i.to.wanted && now.Before(i.until) {
			break
		}
		k.lingering[0] = nil
		k.lingering = k.lingering[1:]
		i.lingers = false
		if !i.to.wanted {
			delete(k.all, i.subject)
			k.answerLocked(i)
			drop = append(drop, i)
		}
	}
	switch {
	case k.closed, len(add) == 0 && len(drop) == 0 && len(k.lingering) == 0 && k.again.IsZero():
		k.running = false
		for _, i := range add {
			k.answerLocked(i)
		}
		return nil, nil, 0, true
	case len(add) > 0 || len(drop) > 0:
		return add, drop, 0, false
	}
	wake := k.again
	if len(k.lingering) > 0 && (wake.IsZero() || k.lingering[0].until.Before(wake)) {
		wake = k.lingering[0].until
	}
	return nil, nil, wake.Sub(now), false
}

func (k *keeper) answerLocked(i *interest) {
	if i.wait != nil {
		close(i.wait)
		i.wait = nil
	}
}

func (k *keeper) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-k.wake:
	case <-k.n.ctx.Done():
	}
}

func (k *keeper) subscribe(batch []*interest) {
	ctx, cancel := context.WithTimeout(k.n.ctx, subscribeTimeout)
	err := k.n.bus.Subscribe(ctx, subjects(batch)...)
	cancel()
	if errors.Is(err, cluster.ErrSubject) && len(batch) > 1 {
		// One of them is too long for this bus. The others are not to suffer for it.
		k.subscribe(batch[:len(batch)/2])
		k.subscribe(batch[len(batch)/2:])
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	for _, i := range batch {
		switch {
		case err == nil:
			i.has = now
			k.answerLocked(i)
			for _, f := range i.ready {
				k.n.do(f)
			}
			i.ready = nil
		case errors.Is(err, cluster.ErrClosed), errors.Is(err, cluster.ErrSubject):
			k.answerLocked(i)
			i.ready = nil
		case k.all[i.subject] == i:
			k.unsure = append(k.unsure, i)
		}
	}
	if len(k.unsure) > 0 && !k.n.isDown() {
		k.again = now.Add(retryAfter)
	}
}

func (k *keeper) unsubscribe(batch []*interest) {
	ctx, cancel := context.WithTimeout(k.n.ctx, subscribeTimeout)
	err := k.n.bus.Unsubscribe(ctx, subjects(batch)...)
	cancel()
	if err == nil || errors.Is(err, cluster.ErrClosed) || errors.Is(err, cluster.ErrSubject) {
		return
	}
	// The bus may still listen to them, or not: it is asked once more, later. What is heard until then counts for nothing.
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, i := range batch {
		if k.all[i.subject] == nil {
			i = &interest{subject: i.subject, values: i.values, absent: true}
			k.all[i.subject] = i
			k.lingerLocked(i)
		}
	}
}

func subjects(batch []*interest) []string {
	s := make([]string, len(batch))
	for i, x := range batch {
		s[i] = x.subject
	}
	return s
}
