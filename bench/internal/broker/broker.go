// Package broker is the process between the nodes of a cluster: NATS or Redis on a free port of 127.0.0.1.
package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/wshub-go/wshub/bench/internal/proto"
)

// patience is how long a broker may take to be there.
const patience = 20 * time.Second

// Run starts a broker of the kind, "nats" or "redis", writes a [proto.Ready] with its URL on out, and runs it until in ends
// or asks to quit, which is the only request. NATS is embedded; Redis is the redis-server of the machine, and miniredis,
// which is slower, where there is none.
func Run(kind string, in io.Reader, out io.Writer) error {
	url, stop, err := start(kind)
	if err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	return errors.Join(answer(url, in, out), stop())
}

func start(kind string) (url string, stop func() error, err error) {
	switch kind {
	case "nats":
		return startNATS()
	case "redis":
		if path, err := exec.LookPath("redis-server"); err == nil {
			return startRedis(path)
		}
		return startMiniredis()
	default:
		return "", nil, fmt.Errorf("kind %q: neither nats nor redis", kind)
	}
}

func answer(url string, in io.Reader, out io.Writer) error {
	ready, err := json.Marshal(proto.Ready{Addr: url})
	if err != nil {
		return err
	}
	e := json.NewEncoder(out)
	if err := e.Encode(proto.Reply{Result: ready}); err != nil {
		return err
	}
	for d := json.NewDecoder(in); ; {
		var r proto.Request
		if err := d.Decode(&r); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("requests: %w", err)
		}
		if r.Do == proto.DoQuit {
			return e.Encode(proto.Reply{})
		}
		if err := e.Encode(proto.Reply{Error: r.Do + ": nothing that a broker does"}); err != nil {
			return err
		}
	}
}

func startNATS() (string, func() error, error) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		return "", nil, fmt.Errorf("nats: %w", err)
	}
	s.Start()
	stop := func() error {
		s.Shutdown()
		s.WaitForShutdown()
		return nil
	}
	if !s.ReadyForConnections(patience) {
		stop()
		return "", nil, errors.New("nats: the server does not listen")
	}
	return s.ClientURL(), stop, nil
}

func startMiniredis() (string, func() error, error) {
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		return "", nil, fmt.Errorf("miniredis: %w", err)
	}
	return "redis://" + m.Addr(), func() error { m.Close(); return nil }, nil
}
