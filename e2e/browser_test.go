package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// step is an action in a tab.
type step = chromedp.Action[chromedp.Void]

// browser starts a headless Chromium with a profile of its own, which ends with the test. Its context is that of the
// first tab.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("no Chromium found")
		}
		t.Skip("no Chromium found (Debian's package is called chromium): the browser is not tested")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.WindowSize(1280, 800),
	)
	alloc, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop) // waits until the process and its profile are gone
	return tab(alloc, t)
}

// tab opens a tab in the browser of parent, or starts it. An error that the page does not catch fails the test.
func tab(parent context.Context, t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent)
	t.Cleanup(cancel)
	err := chromedp.Listen(ctx, func(ev any) {
		if e, ok := ev.(*runtime.EventExceptionThrown); ok {
			t.Errorf("in the page: %v", e.ExceptionDetails)
		}
	})
	if err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	return ctx
}

// do takes steps in a tab, in bounded time.
func do(ctx context.Context, t *testing.T, what string, steps ...step) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// text reads an element.
func text(ctx context.Context, t *testing.T, selector string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.TextContent(chromedp.CSS(selector)))
	if err != nil {
		t.Fatalf("text of %s: %v", selector, err)
	}
	return s
}

// until waits for a JavaScript expression to become true. It asks by the clock: a tab in the background draws no frames.
func until(expression string, args ...any) step {
	return chromedp.Poll[chromedp.Void](fmt.Sprintf(expression, args...), chromedp.WithPollingInterval(50*time.Millisecond))
}

const (
	live    = `document.getElementById("status").dataset.state === "live"`
	offline = `document.getElementById("status").textContent.startsWith("offline (%d)")`
	priced  = `document.querySelectorAll("#prices tr").length >= 3`
	said    = `document.querySelectorAll("#messages li").length >= 1`
	heard   = `[...document.querySelectorAll("#messages li")].some(li => li.textContent === %q)`
)

// fill sets a field and leaves it, as a person does.
func fill(id, value string) step {
	return chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`{
		const field = document.getElementById(%q);
		field.value = %q;
		field.dispatchEvent(new Event("change"));
	}`, id, value))
}

func typing(selector, keys string) step { return chromedp.SendKeys(chromedp.CSS(selector), keys) }

func click(selector string) step { return chromedp.Click(chromedp.CSS(selector)) }

func TestBrowser(t *testing.T) {
	p := start(t, "quickstart", "127.0.0.1:0")
	first := browser(t)
	second := tab(first, t)

	do(first, t, "load", chromedp.Navigate(p.url.String()), until(live), until(priced))
	before := text(first, t, "#prices .price")
	do(first, t, "see a price change", until(`document.querySelector("#prices .price").textContent !== %q`, before))

	do(second, t, "load the second tab", chromedp.Navigate(p.url.String()), until(live),
		fill("name", "bob"), fill("room", "gophers"))
	do(first, t, "say something", fill("name", "alice"), fill("room", "gophers"),
		typing("#text", "hello from the first tab\r"), until(heard, "alicehello from the first tab"))
	do(second, t, "hear it and answer", until(heard, "alicehello from the first tab"),
		typing("#text", "hello back"), click("#say button"), until(heard, "bobhello back"))
	do(first, t, "hear the answer", until(heard, "bobhello back"))
}

// TestBrowserReconnects restarts the server under an open page.
func TestBrowserReconnects(t *testing.T) {
	p := start(t, "quickstart", "127.0.0.1:0")
	page := browser(t)
	do(page, t, "load", chromedp.Navigate(p.url.String()), until(live), until(priced))
	go p.interrupt() // ends as the call below does
	do(page, t, "see the server go", until(offline, 1001))
	p.interrupt()
	start(t, "quickstart", p.url.Host)
	do(page, t, "see it come back", until(live), typing("#text", "still here\r"), until(said))
}
