package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// How long a node has to start, and to end.
const (
	startLimit = 20 * time.Second
	endLimit   = 15 * time.Second
)

// A process is a node, as the front has it: started again whenever it has ended.
type process struct {
	id    string
	asked chan struct{} // one place: start it now

	mu    sync.Mutex // guards what follows
	state string     // "starting", "up", "draining", "killed" (and not waited for yet) or "down"
	again time.Time  // when one that is down is started again; zero: when it is asked for
	proxy http.Handler
	kill  func() error // at once, as kill -9 does
	drain func() error // in order
}

// start starts the process and waits until it serves. exited is closed when it has ended.
func (p *process) start(ctx context.Context, c config) (exited <-chan struct{}, err error) {
	p.set("starting", time.Time{})
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-node", p.id, "-interval", c.interval.String(), "-grace", c.grace.String())
	cmd.Env = append(os.Environ(), busEnv+"="+c.bus, keyEnv+"="+c.key)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe() // its end is the node's: ours, or that of this process, however it comes
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Cancel, cmd.WaitDelay = stdin.Close, endLimit
	if err := cmd.Start(); err != nil {
		return nil, err
	}

	late := time.AfterFunc(startLimit, func() { cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	late.Stop()
	target, urlErr := url.Parse(strings.TrimSpace(line))
	if err = errors.Join(err, urlErr); err != nil {
		cmd.Process.Kill()
		return nil, fmt.Errorf("node %s does not start: %w", p.id, errors.Join(err, cmd.Wait()))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.kill, p.drain = "up", cmd.Process.Kill, stdin.Close
	p.proxy = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // which the node compares with the page's Origin
	}, ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
		if r.Context().Err() == nil {
			log.Printf("node %s does not answer: %v", p.id, err)
		}
		unavailable(w)
	}}
	done := make(chan struct{})
	go func() { // ends with the process
		defer close(done)
		if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			log.Printf("node %s has ended: %v", p.id, err)
		}
	}()
	return done, nil
}

// keep starts the process again whenever it has ended, until ctx is done.
func (p *process) keep(ctx context.Context, c config, exited <-chan struct{}) {
	for {
		if exited != nil {
			<-exited
		}
		var again time.Time
		var pause <-chan time.Time
		if c.restart > 0 {
			again, pause = time.Now().Add(c.restart), time.After(c.restart)
		}
		p.set("down", again)
		select {
		case <-ctx.Done():
			return
		case <-p.asked:
		case <-pause:
		}
		var err error
		if exited, err = p.start(ctx, c); err != nil {
			log.Print(err)
		}
	}
}

// do does what a button of the page says. It reports whether the process was in a state for it.
func (p *process) do(verb string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch up := p.state == "up"; {
	case verb == "start" && p.state == "down":
		select {
		case p.asked <- struct{}{}:
		default: // it is asked for already
		}
		return true
	case verb == "kill" && (up || p.state == "draining"):
		if p.kill() != nil {
			return false // it has ended by itself
		}
		p.state = "killed" // nobody is handed to it any more
		return true
	case verb == "drain" && up:
		p.state = "draining"
		return p.drain() == nil
	}
	return false
}

// handler returns what hands requests to the node, nil when it is not up.
func (p *process) handler() http.Handler {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != "up" {
		return nil
	}
	return p.proxy
}

func (p *process) set(state string, again time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.again = state, again
}
