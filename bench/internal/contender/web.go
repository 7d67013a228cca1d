package contender

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// web is the HTTP server around the libraries that have none of their own, and the goroutines of its connections.
type web struct {
	server http.Server
	wait   sync.WaitGroup // a handler, and what it starts

	mu     sync.Mutex
	closed bool // guarded by mu: no handler begins any more
}

// handle sets what serves a request for /ws, before Serve. What f starts in wait is waited for.
func (s *web) handle(f func(w http.ResponseWriter, r *http.Request, p params)) {
	s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := paramsOf(r.URL.Query())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if !s.begin() {
			http.Error(w, "closing", http.StatusServiceUnavailable)
			return
		}
		defer s.wait.Done()
		f(w, r, p)
	}))
}

// serve sets the handler of /ws.
func (s *web) serve(h http.Handler) {
	mux := http.NewServeMux()
	mux.Handle("/ws", h)
	s.server.Handler = mux
	s.server.ReadHeaderTimeout = 30 * time.Second
}

func (s *web) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wait.Add(1)
	return true
}

// Serve is a Hub's.
func (s *web) Serve(l net.Listener) error {
	if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// closing is how long an end waits for what is under way.
const closing = 10 * time.Second

// close refuses clients and ends those that there are, with end, which is called until no handler is left: one that was
// upgrading may have made a client meanwhile.
func (s *web) close(end func()) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	err := s.server.Close()
	done := make(chan struct{})
	go func() { s.wait.Wait(); close(done) }() // ends with the last handler
	for deadline := time.Now().Add(closing); ; {
		end()
		select {
		case <-done:
			return err
		case <-time.After(10 * time.Millisecond):
			if time.Now().After(deadline) {
				return errors.Join(err, errors.New("connections do not end"))
			}
		}
	}
}
