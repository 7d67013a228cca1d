package redisbus

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wshub-go/wshub/cluster"
)

// startCluster starts a cluster of n masters.
func startCluster(t testing.TB, n int) []*server {
	t.Helper()
	nodes := make([]*server, n)
	for i := range nodes {
		nodes[i] = startServer(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no", "--cluster-config-file", "nodes.conf")
	}
	for i, s := range nodes {
		from, to := i*16384/n, (i+1)*16384/n-1
		if err := s.do("CLUSTER", "ADDSLOTSRANGE", from, to); err != nil {
			t.Fatal(err)
		}
		if err := s.do("CLUSTER", "SET-CONFIG-EPOCH", i+1); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if err := s.do("CLUSTER", "MEET", "127.0.0.1", nodes[0].port); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, s := range nodes {
		eventually(t, "the cluster is whole", func() bool {
			info, err := s.ask("CLUSTER", "INFO")
			text := fmt.Sprint(info)
			return err == nil && strings.Contains(text, "cluster_slots_assigned:16384") && strings.Contains(text, "cluster_state:ok") && strings.Contains(text, "cluster_known_nodes:"+strconv.Itoa(n)+"\r")
		})
	}
	return nodes
}

// Every lane is a slot of its own, and lanes are spread evenly over masters that own ranges.
func TestLanes(t *testing.T) {
	fronts := lanes(options{prefix: "p.", sharded: true})
	for _, masters := range []int{1, 2, 3, 4, 5, 6, 8, 16} {
		count := make([]int, masters)
		for i := range fronts {
			count[slot(tags[i])*masters/16384]++
		}
		for _, c := range count {
			if c < 16/masters || c > (16+masters-1)/masters {
				t.Errorf("%d masters have %v lanes", masters, count)
				break
			}
		}
	}
	count := make([]int, 16)
	for _, s := range subjects(16_000) {
		count[laneOf(s, 16)]++
	}
	for _, c := range count {
		if c < 800 || c > 1200 {
			t.Errorf("subjects are in lanes %v", count)
			break
		}
	}
	if got := laneOf("wshub.all", 16); got != 11 {
		t.Errorf("wshub.all is in lane %d: nodes of two versions would not hear each other", got)
	}
}

// slot returns the slot of a key without a hash tag: CRC16 (XMODEM), as the cluster specification has it.
func slot(key string) int {
	crc := uint16(0)
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			carry := crc & 0x8000
			crc <<= 1
			if carry != 0 {
				crc ^= 0x1021
			}
		}
	}
	return int(crc % 16384)
}

func TestSharded(t *testing.T) {
	nodes := startCluster(t, 3)
	a, b := connect(t, nodes[0].url(), Sharded(), Prefix("p")), connect(t, nodes[2].url(), Sharded(), Prefix("p"))
	before := runtime.NumGoroutine()
	many := subjects(10_000)
	subscribe(t, a, many...)
	subscribe(t, b, "wshub.all")
	state(t, a, cluster.StateUp)
	if after := runtime.NumGoroutine(); after > before+32 {
		t.Errorf("%d goroutines, before %d", after, before)
	}
	for i, s := range nodes {
		if channels, err := s.ask("PUBSUB", "SHARDCHANNELS"); err != nil || len(channels.([]any)) < 2000 {
			t.Errorf("server %d has %v channels, %v", i, channels, err)
		}
	}
	// One batch over all servers; each subject keeps its order.
	var batch []cluster.Message
	for i := range 900 {
		batch = append(batch, message(many[i%300], strconv.Itoa(i/300)), message("wshub.all", strconv.Itoa(i)))
	}
	publish(t, b, batch...)
	next := make(map[string]int)
	for range 900 {
		subject, data, _ := strings.Cut(receive(t, a), " ")
		if data != strconv.Itoa(next[subject]) {
			t.Fatalf("%s: received %s, want %d", subject, data, next[subject])
		}
		next[subject]++
	}
	for i := range 900 {
		if got, want := receive(t, b), "wshub.all "+strconv.Itoa(i); got != want {
			t.Fatalf("received %q, want %q", got, want)
		}
	}
	if err := a.Unsubscribe(ctx(t), many...); err != nil {
		t.Fatal(err)
	}
	for i, s := range nodes {
		if channels, err := s.ask("PUBSUB", "SHARDCHANNELS"); err != nil || len(channels.([]any)) > 1 {
			t.Errorf("server %d has %v channels, %v", i, channels, err)
		}
	}
}

// One server of a cluster is killed and started again.
func TestShardedKilled(t *testing.T) {
	nodes := startCluster(t, 3)
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[0].addr(), nodes[1].addr()}})
	defer c.Close()
	b, err := New(c, Sharded())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	many := subjects(3000)
	subscribe(t, b, many...)
	state(t, b, cluster.StateUp)
	l := startLoad(t, b)
	nodes[1].kill()
	is(t, state(t, b, cluster.StateDown).Err, cluster.ErrDown)
	heardAny := func() (ok, down int) {
		for _, s := range many[:32] {
			switch _, err := b.Publish(ctx(t), message(s, "x")); {
			case err == nil:
				ok++
			case errors.Is(err, cluster.ErrDown):
				down++
			default:
				t.Errorf("error %v", err)
			}
		}
		return ok, down
	}
	if ok, down := heardAny(); ok == 0 || down == 0 {
		t.Errorf("without one of three servers %d subjects are well, %d are not", ok, down)
	}
	nodes[1].start()
	if took := back(t, b, time.Now()); took > 15*time.Second {
		t.Errorf("back after %v", took)
	}
	l.end()
	eventually(t, "the cluster takes everything", func() bool { _, down := heardAny(); return down == 0 })
	hears(t, b, b, many[:32]...)
}

// A slot that moves to another server takes its lane along.
func TestShardedMoved(t *testing.T) {
	nodes := startCluster(t, 2)
	listener, speaker := connect(t, nodes[0].url(), Sharded()), connect(t, nodes[1].url(), Sharded())
	const subject = "wshub.all"
	subscribe(t, listener, subject)
	state(t, listener, cluster.StateUp)
	state(t, speaker, cluster.StateUp)
	publish(t, speaker, message(subject, "before"))
	if got := receive(t, listener); got != subject+" before" {
		t.Fatalf("received %q", got)
	}
	to, err := nodes[1].ask("CLUSTER", "MYID")
	if err != nil {
		t.Fatal(err)
	}
	moving := slot(tags[laneOf(subject, 16)])
	for _, s := range []*server{nodes[1], nodes[0]} {
		if err := s.do("CLUSTER", "SETSLOT", moving, "NODE", to); err != nil {
			t.Fatal(err)
		}
	}
	if st := state(t, listener, cluster.StateDown); !strings.Contains(st.Err.Error(), errMoved.Error()) {
		t.Errorf("down for %v", st.Err)
	}
	state(t, listener, cluster.StateUp)
	eventually(t, "the speaker has found the slot", func() bool {
		_, err := speaker.Publish(ctx(t), message(subject, "after"))
		if err != nil {
			is(t, err, cluster.ErrDown)
		}
		return err == nil
	})
	if got := receive(t, listener); got != subject+" after" {
		t.Errorf("received %q", got)
	}
}

// Without sharded channels every server of a cluster has everything.
func TestCluster(t *testing.T) {
	nodes := startCluster(t, 3)
	a := connect(t, nodes[0].url())
	b := connect(t, nodes[1].url()+"?addr="+nodes[2].addr())
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[2].addr()}})
	defer c.Close()
	other, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	buses := []*Bus{a, b, other}
	for _, bus := range buses {
		subscribe(t, bus, "s")
	}
	for i, from := range buses {
		batch := make([]cluster.Message, 2000)
		for j := range batch {
			batch[j] = message("s", fmt.Sprint(i, j))
		}
		publish(t, from, batch...)
		for _, bus := range buses {
			for j := range batch {
				if got, want := receive(t, bus), "s "+fmt.Sprint(i, j); got != want {
					t.Fatalf("received %q, want %q", got, want)
				}
			}
		}
	}
	// A client that has its own way to connect is told what is wrong with it.
	own := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:     []string{nodes[0].addr()},
		NewClient: func(o *redis.Options) *redis.Client { o.Dialer = nil; return redis.NewClient(o) },
	})
	defer own.Close()
	stubborn, err := New(own)
	if err != nil {
		t.Fatal(err)
	}
	defer stubborn.Close()
	is(t, stubborn.Subscribe(ctx(t), "s"), cluster.ErrDown)
	// Whoever's server is gone finds another one, and keeps nothing for the old one.
	for _, s := range nodes[1:] {
		s.kill()
	}
	eventually(t, "the last server has everybody", func() bool {
		for _, bus := range []*Bus{b, other} {
			short, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := bus.Publish(short, message("s", "x"))
			cancel()
			if err != nil {
				return false
			}
			bus.source.mu.Lock()
			servers := len(bus.source.publishers)
			bus.source.mu.Unlock()
			if servers != 1 {
				t.Errorf("clients for %d servers", servers)
			}
		}
		return true
	})
}
