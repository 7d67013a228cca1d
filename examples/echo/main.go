// Command echo sends every message back as it came, on any path. It stands for the library in conformance suites and
// benchmarks: every byte passes the same reading and writing as in a real program, and everything that would close or
// thin out an honest client is turned off.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wshub-go/wshub"
)

func main() {
	addr := flag.String("addr", ":8080", "the `address` to listen on")
	limit := flag.Int64("read-limit", 16<<20, "the `bytes` that one message may have")
	compress := flag.Bool("compress", false, "accept permessage-deflate")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *limit, *compress); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done, and then closes every session with 1001.
func run(ctx context.Context, addr string, limit int64, compress bool) error {
	hub, err := newHub(limit, compress)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("http://127.0.0.1:%d/\n", ln.Addr().(*net.TCPAddr).Port)
	srv := &http.Server{Handler: hub.Handler(echo), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }() // ends with srv.Close
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(hub.Shutdown(grace), srv.Close())
}

// newHub returns a hub that closes nobody for being slow, silent or far away.
func newHub(limit int64, compress bool) (*wshub.Hub, error) {
	opts := []wshub.Option{
		wshub.WithOrigins("*"),
		wshub.WithReadLimit(limit),
		wshub.WithKeepAlive(0, 0),
		wshub.WithMessageTimeout(0),
		wshub.WithWriteTimeout(time.Hour), // the time that one frame has to leave, and 16 MiB may be read slowly
		// The default for received messages fits: when 16 of them, or 1 MiB, wait for echo, reading pauses until it has
		// taken one. Nothing is dropped, and a client that does not read its echoes is not read from either.
	}
	if compress {
		opts = append(opts, wshub.WithCompression(0)) // every message that gets shorter by it
	}
	return wshub.New(opts...)
}

// echo is the whole program. Send copies the message, and waits while more than 1 MiB is on its way to the client.
func echo(ctx context.Context, s *wshub.Session) error {
	ctx = context.WithoutCancel(ctx) // which ends when the client closes: what it said before has an echo all the same
	for msg := range s.Messages() {
		if err := s.Send(ctx, msg); err != nil {
			return err // the session is closing: why is decided
		}
	}
	return nil // closes 1000
}
