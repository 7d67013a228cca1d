package redisbus

import (
	"sync"
	"sync/atomic"
)

// call is a Subscribe or Unsubscribe that waits: for a number of subjects, in any number of links.
type call struct {
	left atomic.Int64
	once sync.Once
	done chan struct{} // closed when it waits no longer
	err  error         // why it has failed; immutable once done is closed
}

// newCall returns one that waits for its own end(nil), so that it does not end before all is added.
func newCall() *call {
	c := &call{done: make(chan struct{})}
	c.add()
	return c
}

func (c *call) add() { c.left.Add(1) }

// end takes one away. With the last one, or with an error, the wait is over.
func (c *call) end(err error) {
	if c.left.Add(-1) == 0 || err != nil {
		c.once.Do(func() {
			c.err = err
			close(c.done)
		})
	}
}

func endAll(calls []*call, err error) {
	for _, c := range calls {
		c.end(err)
	}
}
