package broker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// startRedis runs a redis-server that keeps nothing. It cannot listen on a port of the system's choice, so a free one is
// looked for, and another one when somebody was quicker.
func startRedis(path string) (url string, stop func() error, err error) {
	for range 5 {
		if url, stop, err = startRedisOnce(path); err == nil {
			return url, stop, nil
		}
	}
	return "", nil, fmt.Errorf("%s: %w", path, err)
}

func startRedisOnce(path string) (string, func() error, error) {
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "wshub-bench-redis-")
	if err != nil {
		return "", nil, err
	}
	cmd := exec.Command(path, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir,
		"--save", "", "--appendonly", "no", "--loglevel", "warning",
		// A subscriber that is behind for a moment stays: what is measured is not redis's limit.
		"--client-output-buffer-limit", "pubsub 256mb 256mb 60")
	cmd.Stderr = os.Stderr
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the process
	stop := func() error {
		cmd.Process.Kill()
		<-ended
		return os.RemoveAll(dir)
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for deadline := time.Now().Add(patience); ; {
		if answers(addr) {
			return "redis://" + addr, stop, nil
		}
		select {
		case <-ended:
			return "", nil, errors.Join(fmt.Errorf("it has ended: %v", cmd.ProcessState), os.RemoveAll(dir))
		case <-time.After(20 * time.Millisecond):
			if time.Now().After(deadline) {
				return "", nil, errors.Join(errors.New("it does not answer"), stop())
			}
		}
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// answers reports whether a Redis is there.
func answers(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
		return false
	}
	var b [7]byte
	_, err = c.Read(b[:])
	return err == nil && b[0] == '+'
}
