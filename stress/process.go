package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"time"
)

// spare is how many file descriptors a process needs beside those of its guests.
const spare = 200

// processes reports whether the guests need a process of their own, or that not even this is enough.
func processes(c config, limit int) (apart bool, err error) {
	if need := c.Sessions + spare; need > limit {
		return false, fmt.Errorf("stress: %d sessions need %d file descriptors in each of two processes, and the limit is %d: raise it (ulimit -n %d) or give fewer -sessions",
			c.Sessions, need, limit, need)
	}
	return c.Apart || 2*c.Sessions+spare > limit, nil
}

// The environment of the process of guests: the address to visit, and the config as JSON.
const (
	guestsEnv = "WSHUB_STRESS_GUESTS"
	configEnv = "WSHUB_STRESS_CONFIG"
)

// goodbye is how long guests may take to go once it is over: the longest wait of one, and what a busy machine adds.
const goodbye = patience + 30*time.Second

// guestsApart is guests in a process of their own, which prints its report.
func guestsApart(ctx context.Context, c config, addr string) (told *report, err error) {
	told = newReport()
	exe, err := os.Executable()
	if err != nil {
		return told, err
	}
	conf, err := json.Marshal(c)
	if err != nil {
		return told, err
	}
	// It ends by itself when the duration is over. ctx ends at the same time, or before: then it is told to.
	life, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := exec.CommandContext(life, exe)
	cmd.Env = append(os.Environ(), guestsEnv+"="+addr, configEnv+"="+string(conf))
	cmd.Stderr = os.Stderr
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			cmd.Process.Signal(os.Interrupt)
		}
		time.AfterFunc(goodbye, cancel)
	})
	defer stop()
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, told)
	}
	if err != nil {
		err = fmt.Errorf("stress: the process of the guests: %w", err)
	}
	return told, err
}

// guestsMain is the process of the guests.
func guestsMain(addr string) {
	var c config
	if err := json.Unmarshal([]byte(os.Getenv(configEnv)), &c); err != nil {
		log.Fatalf("%s: %v", configEnv, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, c.Duration)
	defer cancel()
	if err := json.NewEncoder(os.Stdout).Encode(guests(ctx, c, addr)); err != nil {
		log.Fatal(err)
	}
}
