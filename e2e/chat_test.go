package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
)

// Conditions of the chat's page.
const (
	lobby   = `!document.getElementById("lobby").hidden`
	nobody  = `document.getElementById("status").dataset.state === "offline"`
	quiet   = `document.getElementById("typing").textContent === ""`
	types   = `document.getElementById("typing").textContent === %q`
	people  = `[...document.querySelectorAll("#people .name")].map(e => e.textContent).join() === %q`
	noted   = `[...document.querySelectorAll("#messages .note")].some(e => e.textContent === %q)`
	policy  = `document.getElementById("policy").textContent === %q`
	burst   = `document.getElementById("delivery").textContent.startsWith(%q)`
	refused = `document.getElementById("refused").textContent.startsWith(%q)`
	waiting = `document.querySelectorAll("#messages .waiting").length === %d`

	texts = `[...document.querySelectorAll("#messages .message:not(.waiting) p")].map(p => p.textContent)`
)

// enters opens the chat in a tab and goes into a room.
func enters(tab context.Context, t *testing.T, p *program, name, room string) {
	t.Helper()
	do(tab, t, name+" enters", chromedp.Navigate(p.url.String()), until(lobby),
		fill("name", name), fill("where", room), click("#enter button"), until(live))
}

// says has a tab say something as its user would.
func says(tab context.Context, t *testing.T, words string) {
	t.Helper()
	do(tab, t, "say "+words, typing("#text", words+"\r"), until(waiting, 0))
}

// shows waits until a tab shows these messages, in this order and no others.
func shows(tab context.Context, t *testing.T, what string, want []string) {
	t.Helper()
	list, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tab, patience)
	defer cancel()
	if err := chromedp.Do(ctx, until(`JSON.stringify(%s) === JSON.stringify(%s)`, texts, list)); err != nil {
		got, _ := chromedp.Run(tab, chromedp.Evaluate[[]string](texts))
		t.Fatalf("%s: %v: the page shows %q, want %q", what, err, got, want)
	}
}

func TestChat(t *testing.T) {
	data := filepath.Join(t.TempDir(), "chat.jsonl")
	p := start(t, "chat", "127.0.0.1:0", "-data", data)
	alice := browser(t)
	bob := tab(alice, t)

	// Who is there.
	enters(alice, t, p, "alice", "gophers")
	do(alice, t, "be alone", until(people, "alice"))
	enters(bob, t, p, "bob", "gophers")
	do(bob, t, "see alice", until(people, "bob,alice"))
	do(alice, t, "see bob come", until(people, "alice,bob"), until(noted, "bob joined"))

	// Talk, which is text whatever it looks like.
	said := []string{"hello", `<img src=x onerror="throw 1"> & <b>bold</b>`, "hello yourself"}
	says(alice, t, said[0])
	says(alice, t, said[1])
	shows(bob, t, "hear alice", said[:2])
	says(bob, t, said[2])
	shows(alice, t, "hear bob", said)

	// Who is typing: until it is said or taken back. That a hint is forgotten after a while is put off.
	keep := chromedp.Evaluate[chromedp.Void](`typing.forEach(hint => clearTimeout(hint.timer))`)
	do(bob, t, "type", typing("#text", "w"))
	do(alice, t, "see bob type", until(types, "bob is typing"), keep)
	do(bob, t, "take it back", typing("#text", "\b"))
	do(alice, t, "see bob stop", until(quiet))
	do(bob, t, "type again", typing("#text", "well"))
	do(alice, t, "see bob type again", until(types, "bob is typing"), keep)
	do(bob, t, "say it", typing("#text", "\r"))
	said = append(said, "well")
	shows(alice, t, "hear it", said)
	do(alice, t, "see bob done", until(quiet))

	// Slow mode: the first message shows when a tick was, the next ones come together at the one after it.
	do(bob, t, "slow down", click("#slow"), until(policy, `dropoldest(1024) flushevery(3s) packtext("\n")`))
	says(alice, t, "tick")
	said = append(said, "tick")
	shows(bob, t, "hear the tick", said)
	do(alice, t, "say three things", chromedp.Evaluate[chromedp.Void](`["one", "two", "three"].forEach(say)`), until(waiting, 0))
	said = append(said, "one", "two", "three")
	shows(alice, t, "hear them at once", said)
	do(bob, t, "hear them together", until(burst, "Last delivery: 3 messages in one frame"))
	shows(bob, t, "hear them", said)
	do(bob, t, "speed up", click("#slow"), until(policy, ""))
	says(alice, t, "fast again")
	said = append(said, "fast again")
	shows(bob, t, "hear at once", said)

	// A restart: nothing said before, meanwhile or after is missing, for those who come back and for who comes late.
	p.end(syscall.SIGTERM)
	do(alice, t, "lose the server", until(nobody), typing("#text", "anybody?\r"), until(waiting, 1))
	do(bob, t, "lose the server", until(nobody))
	p = start(t, "chat", p.url.Host, "-data", data)
	do(bob, t, "come back", until(live), until(people, "bob,alice"))
	do(alice, t, "come back", until(live), until(waiting, 0), until(people, "alice,bob"))
	says(bob, t, "here I am")
	said = append(said, "anybody?", "here I am")
	shows(alice, t, "hear everything", said)
	shows(bob, t, "hear everything", said)
	carol := tab(alice, t)
	enters(carol, t, p, "carol", "gophers")
	shows(carol, t, "hear what was said before", said)
	do(carol, t, "see everybody", until(people, "carol,alice,bob"), until(quiet))

	// The room is still alice's, and bob has to leave it.
	do(alice, t, "remove bob", click(`[aria-label="Remove bob"]`), click(`[aria-label="Really remove bob?"]`),
		until(people, "alice,carol"), until(noted, "alice removed bob"))
	do(bob, t, "be removed", until(lobby), until(refused, "You were removed"))
	do(carol, t, "see bob go", until(people, "carol,alice"), until(noted, "alice removed bob"), until(noted, "bob left"))
	do(bob, t, "be refused", click("#enter button"), until(lobby), until(refused, "You were removed from this room and may come back in"))
}

// TestChatHistory shows what a page makes of a history that is longer than a room remembers.
func TestChatHistory(t *testing.T) {
	data := filepath.Join(t.TempDir(), "chat.jsonl")
	write := func(from, to int, end string) (said []string) {
		var lines strings.Builder
		for i := from; i <= to; i++ {
			said = append(said, fmt.Sprint("number ", i))
			fmt.Fprintf(&lines, "\n"+`{"room":"long","chat":{"id":%d,"after":%d,"user":"00ff00ff00ff00ff","name":"dora","text":"number %d"}}`, i, i-1, i)
		}
		file, err := os.OpenFile(data, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		lines.WriteString(end)
		if _, err = file.WriteString(lines.String()); err == nil {
			err = file.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return said
	}
	const (
		before  = "What was said before is not kept."
		missing = "Some messages are missing here: too many at once, or while you were away."
	)

	said := write(1, 60, "\n")[10:]
	p := start(t, "chat", "127.0.0.1:0", "-data", data)
	page := browser(t)
	enters(page, t, p, "alice", "long")
	shows(page, t, "see the last 50", said)
	do(page, t, "know that there were more", until(noted, before), until(`!(%s)`, fmt.Sprintf(noted, missing)))

	p.interrupt()
	do(page, t, "lose the server", until(nobody))
	said = append(said, write(61, 120, "\n{\"room\":\"long\",\"cha")[10:]...) // as a crash leaves it
	p = start(t, "chat", p.url.Host, "-data", data)
	do(page, t, "come back", until(live))
	shows(page, t, "see the last 50 after those known", said)
	do(page, t, "know that some are missing", until(noted, missing))
	says(page, t, "that was a lot")
	said = append(said, "that was a lot")
	shows(page, t, "say something", said)

	p.interrupt()
	p = start(t, "chat", p.url.Host, "-data", data)
	late := tab(page, t)
	enters(late, t, p, "bob", "long")
	shows(late, t, "see what was said after the crash", said[len(said)-50:])
}
