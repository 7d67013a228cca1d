// Package server is the process that holds one contender: it publishes by a schedule and tells what that took.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/wshub-go/wshub/bench/internal/contender"
	"github.com/wshub-go/wshub/bench/internal/proto"
)

// stopping is how long Run waits for what was under way when its input ended.
const stopping = 5 * time.Second

// Run serves c on a free port of 127.0.0.1 and answers the requests of in on out, one after the other, until a quit or
// the end of in. That end also cuts a schedule short. The goroutine that reads in ends with it.
func Run(c contender.Contender, o contender.Options, in io.Reader, out io.Writer) error {
	hub, err := c.New(o)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, hub.Close())
	}
	addr := l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- hub.Serve(l) }() // ends with hub.Close

	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	requests := make(chan proto.Request)
	go func() { cancel(read(ctx, in, requests)) }() // ends with in

	s := &server{hub: hub, out: json.NewEncoder(out)}
	err = s.answer(proto.Ready{Addr: addr}, nil)
	if err == nil {
		err = s.loop(ctx, requests, served)
	}
	closed := make(chan error, 1)
	go func() { closed <- hub.Close() }() // ends by itself, or with the process
	select {
	case cerr := <-closed:
		return errors.Join(err, cerr)
	case <-time.After(stopping + 10*time.Second):
		return errors.Join(err, fmt.Errorf("%s: does not close", c.Name))
	}
}

// read hands requests on until in ends, and returns why it did.
func read(ctx context.Context, in io.Reader, requests chan<- proto.Request) error {
	for d := json.NewDecoder(in); ; {
		var r proto.Request
		if err := d.Decode(&r); err != nil {
			return err
		}
		select {
		case requests <- r:
		case <-ctx.Done():
			return nil
		}
	}
}

type server struct {
	hub     contender.Hub
	out     *json.Encoder
	numbers numbers
}

// loop answers requests. It returns nil after a quit and at the end of the input.
func (s *server) loop(ctx context.Context, requests <-chan proto.Request, served <-chan error) error {
	for {
		select {
		case r := <-requests:
			done, err := s.request(ctx, r)
			if done || err != nil {
				return err
			}
		case err := <-served:
			return fmt.Errorf("serve: %w", err)
		case <-ctx.Done():
			if err := context.Cause(ctx); err != io.EOF {
				return fmt.Errorf("requests: %w", err)
			}
			return nil
		}
	}
}

// request does what is asked for and answers. It gives up a publish that does not return once the input has ended.
func (s *server) request(ctx context.Context, r proto.Request) (quit bool, err error) {
	result := make(chan any, 1)
	go func() { // ends when what is asked for is done
		switch v, err := s.do(ctx, r); {
		case err != nil:
			result <- err
		default:
			result <- v
		}
	}()
	var v any
	select {
	case v = <-result:
	case <-ctx.Done():
		select {
		case v = <-result:
		case <-time.After(stopping):
			return true, fmt.Errorf("%s: does not end", r.Do)
		}
	}
	if err, ok := v.(error); ok {
		return false, s.answer(nil, fmt.Errorf("%s: %w", r.Do, err))
	}
	return r.Do == proto.DoQuit, s.answer(v, nil)
}

func (s *server) do(ctx context.Context, r proto.Request) (any, error) {
	switch r.Do {
	case proto.DoPublish:
		var p proto.Publish
		if err := json.Unmarshal(r.Args, &p); err != nil {
			return nil, err
		}
		return publish(ctx, s.hub, p, &s.numbers)
	case proto.DoStats:
		var of proto.StatsOf
		if len(r.Args) > 0 {
			if err := json.Unmarshal(r.Args, &of); err != nil {
				return nil, err
			}
		}
		return stats(s.hub, of)
	case proto.DoQuit:
		return nil, nil
	default:
		return nil, errors.New("nothing that a server does")
	}
}

func (s *server) answer(v any, err error) error {
	var r proto.Reply
	if err != nil {
		r.Error = err.Error()
	} else if v != nil {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		r.Result = b
	}
	return s.out.Encode(r)
}
