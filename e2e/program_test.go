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
	cmd  *exec.Cmd
	url  *url.URL
	once sync.Once
}

// quickstart builds and starts examples/quickstart. It ends with the test, by an interrupt, and must exit with 0.
func quickstart(t *testing.T, addr string) *program {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "quickstart")
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	build := exec.Command("go", "build", fmt.Sprintf("-race=%t", race), "-o", bin, "./examples/quickstart")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build quickstart: %v\n%s", err, out)
	}
	cmd := exec.Command(bin, "-addr", addr)
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, cmd: cmd}
	t.Cleanup(p.interrupt)
	watchdog := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	watchdog.Stop()
	if err != nil {
		t.Fatalf("quickstart printed no address: %v", err)
	}
	if p.url, err = url.Parse(strings.TrimSpace(line)); err != nil || p.url.Port() == "" {
		t.Fatalf("quickstart printed %q: %v", line, err)
	}
	return p
}

// ws is the address of its WebSocket.
func (p *program) ws() string { return "ws://" + p.url.Host + "/ws" }

// interrupt ends the program as Ctrl-C does, waits, and checks how it exits. Every call returns when it has exited.
func (p *program) interrupt() {
	p.once.Do(func() {
		p.cmd.Process.Signal(os.Interrupt)
		watchdog := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
		defer watchdog.Stop()
		if err := p.cmd.Wait(); err != nil {
			p.t.Errorf("quickstart ended with: %v", err)
		}
	})
}
