package contender

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// maxNumber bounds the numbers of clients and topics, which index slices.
const maxNumber = 1 << 24

// params is what a client asks for in its path.
type params struct{ id, topic int }

// paramsOf reads them; a request without them is answered with 400.
func paramsOf(q url.Values) (params, error) {
	id, err := number(q.Get("id"))
	if err != nil {
		return params{}, errors.New("the request has no id")
	}
	topic, err := number(q.Get("topic"))
	if err != nil {
		return params{}, errors.New("the request has no topic")
	}
	return params{id, topic}, nil
}

func number(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n >= maxNumber {
		return 0, errors.New("not a number of a client or topic")
	}
	return n, nil
}

// command reads "+t7" and "-t7".
func command(message []byte) (topic int, join, ok bool) {
	if len(message) < 3 || len(message) > 16 || message[1] != 't' || message[0] != '+' && message[0] != '-' {
		return 0, false, false
	}
	topic, err := number(string(message[2:]))
	return topic, message[0] == '+', err == nil
}

// web is the HTTP server around the libraries that have none of their own.
type web struct {
	server http.Server
	wait   sync.WaitGroup // the goroutines of connections
}

// upgrader is a handler of requests whose path was understood.
type upgrader func(w http.ResponseWriter, r *http.Request, p params)

// handle sets what serves /ws, before Serve.
func (s *web) handle(f upgrader) {
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		p, err := paramsOf(r.URL.Query())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		f(w, r, p)
	})
	s.server.Handler = mux
	s.server.ReadHeaderTimeout = 30 * time.Second
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

// stop refuses clients from now on, and returns when no upgrade is under way any more.
func (s *web) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	return errors.Join(s.server.Shutdown(ctx), s.server.Close())
}
