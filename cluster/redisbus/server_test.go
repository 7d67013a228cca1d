package redisbus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/wshub-go/wshub/cluster"
)

func TestTLS(t *testing.T) {
	cert, roots := certificate(t)
	m := miniredis.NewMiniRedis()
	if err := m.StartTLS(&tls.Config{Certificates: []tls.Certificate{cert}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	trusting := redis.NewClient(&redis.Options{Addr: m.Addr(), TLSConfig: &tls.Config{RootCAs: roots}})
	defer trusting.Close()
	b, err := New(trusting)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	subscribe(t, b, "s")
	blind := connect(t, "rediss://"+m.Addr()+"?skip_verify=true")
	publish(t, blind, message("s", "x"))
	if got := receive(t, b); got != "s x" {
		t.Errorf("received %q", got)
	}
	wary := connect(t, "rediss://"+m.Addr())
	err = wary.Subscribe(ctx(t), "s")
	is(t, err, cluster.ErrDown)
	if !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error %v", err)
	}
}

// certificate returns one for 127.0.0.1, and a pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// The rights that the package names are enough, and a channel that is not among them is refused.
func TestRights(t *testing.T) {
	nodes := startCluster(t, 1)
	s := nodes[0]
	acl := strings.Fields("ACL SETUSER wshub on >secret resetchannels &shop.* -@all +@pubsub +@connection +cluster|slots")
	args := make([]any, len(acl))
	for i, a := range acl {
		args[i] = a
	}
	if err := s.do(args...); err != nil {
		t.Fatal(err)
	}
	address := "redis://wshub:secret@" + s.addr()
	for name, opts := range map[string][]Option{"plain": nil, "sharded": {Sharded()}} {
		t.Run(name, func(t *testing.T) {
			b := connect(t, address, append(opts, Prefix("shop"))...)
			subscribe(t, b, "s")
			publish(t, b, message("s", "x"))
			if got := receive(t, b); got != "s x" {
				t.Errorf("received %q", got)
			}
			other := connect(t, address, append(opts, Prefix("other"))...)
			_, err := other.Publish(ctx(t), message("s", "x"))
			if err == nil || !strings.Contains(err.Error(), "NOPERM") {
				t.Errorf("Publish: %v", err)
			}
			err = other.Subscribe(ctx(t), "s")
			is(t, err, cluster.ErrDown)
			if !strings.Contains(err.Error(), "NOPERM") {
				t.Errorf("Subscribe: %v", err)
			}
			eventually(t, "Status says why", func() bool {
				st := state(t, other, cluster.StateDown)
				return st.Err != nil && strings.Contains(st.Err.Error(), "NOPERM")
			})
		})
	}
}

// A bus behind Sentinel follows its master.
func TestSentinel(t *testing.T) {
	master := startServer(t)
	replica := startServer(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(master.port))
	eventually(t, "the replica is one", func() bool {
		info, err := replica.ask("INFO", "replication")
		return err == nil && strings.Contains(fmt.Sprint(info), "master_link_status:up")
	})
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor main 127.0.0.1 %d 1\nsentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n", master.port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := startSentinel(t, conf)
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "main", SentinelAddrs: []string{sentinel.addr()}})
	defer c.Close()
	b, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	subscribe(t, b, "s")
	state(t, b, cluster.StateUp)
	eventually(t, "the sentinel knows the replica", func() bool {
		replicas, err := sentinel.ask("SENTINEL", "REPLICAS", "main")
		return err == nil && strings.Contains(fmt.Sprint(replicas), strconv.Itoa(replica.port))
	})
	master.kill()
	state(t, b, cluster.StateDown)
	state(t, b, cluster.StateUp)
	hears(t, b, b, "s")
	if role, err := replica.ask("ROLE"); err != nil || !strings.Contains(fmt.Sprint(role), "master") {
		t.Errorf("the replica is %v, %v", role, err)
	}
}
