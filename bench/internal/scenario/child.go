package scenario

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// A Child is a process that answers requests. Its methods must not be called concurrently, but for Kill.
type Child struct {
	in      io.WriteCloser
	replies chan reply    // closed when the child's output has ended
	gone    chan struct{} // closed by end: the reading goroutine need not hand over replies any more
	end     func(kill bool) (cpu float64)
	once    sync.Once
	cpu     float64 // of the whole life; written once
}

type reply struct {
	proto.Reply
	err error
}

// ErrLate is returned by a request that was not answered in time. The child can only be killed then.
var ErrLate = errors.New("no answer in time")

// answer is how long a child may take for what should take a moment.
const answer = 60 * time.Second

// NewChild returns a child that reads requests from in and answers on out. end ends it, at once or when it is done, closes
// out, and returns the seconds of CPU that it has used; it is called once.
func NewChild(in io.WriteCloser, out io.Reader, end func(kill bool) float64) *Child {
	c := &Child{in: in, replies: make(chan reply), gone: make(chan struct{}), end: end}
	go c.read(out) // ends with the output, or when it is at a reply and the child is gone
	return c
}

func (c *Child) read(out io.Reader) {
	defer close(c.replies)
	dec := json.NewDecoder(bufio.NewReader(out))
	for {
		var r reply
		if r.err = dec.Decode(&r.Reply); r.err == io.EOF {
			return
		}
		select {
		case c.replies <- r:
		case <-c.gone:
			return
		}
		if r.err != nil {
			return
		}
	}
}

// Exec starts the program with these flags as a child whose standard error is this process's.
func Exec(program string, flags ...string) (*Child, error) {
	cmd := exec.Command(program, flags...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return NewChild(in, out, func(kill bool) float64 {
		if kill {
			_ = cmd.Process.Kill()
		}
		late := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Wait() // how it ended does not matter: it has answered, or is not asked any more
		return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	}), nil
}

// Ready waits for a server's first line.
func (c *Child) Ready() (r proto.Ready, err error) {
	return r, c.receive(answer, &r)
}

// Do asks the child for something and stores the answer in result, unless that is nil.
func (c *Child) Do(do string, args, result any) error { return c.DoWithin(answer, do, args, result) }

// DoWithin is Do, but fails with [ErrLate] if there is no answer in that time.
func (c *Child) DoWithin(limit time.Duration, do string, args, result any) error {
	req := proto.Request{Do: do}
	if args != nil {
		b, err := json.Marshal(args)
		if err != nil {
			return err
		}
		req.Args = b
	}
	b, err := json.Marshal(req)
	if err != nil {
		return err
	}
	if _, err := c.in.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("%s: %w", do, err)
	}
	if err := c.receive(limit, result); err != nil {
		return fmt.Errorf("%s: %w", do, err)
	}
	return nil
}

func (c *Child) receive(limit time.Duration, result any) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ErrLate
	case r, ok := <-c.replies:
		switch {
		case !ok:
			return errors.New("the process has ended")
		case r.err != nil:
			return r.err
		case r.Error != "":
			return errors.New(r.Error)
		case result == nil || len(r.Result) == 0:
			return nil
		}
		return json.Unmarshal(r.Result, result)
	}
}

// Close closes the child's input, at which it ends, and waits for that; it is killed after five seconds. Further calls do
// nothing.
func (c *Child) Close() { c.stop(false) }

// Kill ends the child at once and returns the seconds of CPU it has used since it started.
func (c *Child) Kill() float64 { return c.stop(true) }

func (c *Child) stop(kill bool) float64 {
	c.once.Do(func() {
		_ = c.in.Close()
		close(c.gone)
		c.cpu = c.end(kill)
	})
	return c.cpu
}
