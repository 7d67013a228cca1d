package e2e

import (
	"bufio"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wshub-go/wshub/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// patience bounds every wait for another process.
const patience = 30 * time.Second

// program is a running example.
type program struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	url  *url.URL
	once sync.Once
}

// start builds and starts an example on an address, with more arguments. It ends with the test, by an interrupt, and must
// exit with 0.
func start(t *testing.T, name, addr string, args ...string) *program {
	t.Helper()
	bin := filepath.Join(t.TempDir(), name)
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	build := exec.Command("go", "build", fmt.Sprintf("-race=%t", race), "-o", bin, ".")
	build.Dir = filepath.Join("..", "examples", name) // some are modules of their own
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	cmd := exec.Command(bin, append([]string{"-addr", addr}, args...)...)
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, name: name, cmd: cmd}
	t.Cleanup(p.interrupt)
	watchdog := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	watchdog.Stop()
	if err != nil {
		t.Fatalf("%s printed no address: %v", name, err)
	}
	if p.url, err = url.Parse(strings.TrimSpace(line)); err != nil || p.url.Port() == "" {
		t.Fatalf("%s printed %q: %v", name, line, err)
	}
	return p
}

// ws is the address of its WebSocket.
func (p *program) ws() string { return "ws://" + p.url.Host + "/ws" }

// interrupt ends the program as Ctrl-C does, see end.
func (p *program) interrupt() { p.end(os.Interrupt) }

// end sends the program a signal, waits, and checks how it exits. Every call returns when it has exited; only the first one's
// signal is sent.
func (p *program) end(sig os.Signal) {
	p.once.Do(func() {
		p.cmd.Process.Signal(sig)
		watchdog := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
		defer watchdog.Stop()
		if err := p.cmd.Wait(); err != nil {
			p.t.Errorf("%s ended with: %v", p.name, err)
		}
	})
}
