package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
)

// Conditions of the cluster's page.
const (
	onNode  = `document.querySelector("#status .chip")?.textContent === %q`
	offNode = `document.querySelector("#status .chip") && document.querySelector("#status .chip").textContent !== %q`
	isState = `document.querySelector('#cluster [data-key="%s"] .state').textContent === %q`
	where   = `[...document.querySelectorAll("#people li")].map(li => [li.querySelector(".name span"), ...li.querySelectorAll(".chip")].map(e => e.textContent).join(" ")).join(", ") === %q`
	total   = `document.getElementById("count").textContent === %q`
	from    = `[...document.querySelectorAll("#messages .message")].find(m => m.querySelector("p").textContent === %q)?.querySelector(".chip")?.textContent === %q`
)

// visits opens the page in a tab, as somebody on a node.
func visits(tab context.Context, t *testing.T, p *program, name, node string) {
	t.Helper()
	do(tab, t, name+" comes", chromedp.Navigate(p.url.String()+"?node="+node), until(live),
		fill("name", name), until(live), until(onNode, node))
}

// TestMultinode has two tabs on two nodes, and kills the node of one of them.
func TestMultinode(t *testing.T) {
	p := start(t, "multinode", "127.0.0.1:0", "-restart=0")
	alice := browser(t)
	bob := tab(alice, t)
	visits(alice, t, p, "alice", "a")
	visits(bob, t, p, "bob", "b")
	do(alice, t, "see bob on another node", until(where, "alice a, bob b"), until(total, "2 sessions on 3 nodes"))
	do(bob, t, "see alice on another node", until(where, "bob b, alice a"), until(total, "2 sessions on 3 nodes"))

	// Talk, which is text whatever it looks like.
	said := []string{"hello", `<img src=x onerror="throw 1"> & <b>bold</b>`, "hello yourself"}
	says(alice, t, said[0])
	says(alice, t, said[1])
	shows(bob, t, "hear alice", said[:2])
	says(bob, t, said[2])
	shows(alice, t, "hear bob", said)
	do(alice, t, "see where bob said it", until(from, said[2], "b"))
	do(bob, t, "see where alice said it", until(from, said[0], "a"))

	// Bob's node is killed. He comes back on another one, and alice sees him move.
	do(alice, t, "kill bob's node", click(`[aria-label="Kill node b"]`))
	do(bob, t, "come back", until(offNode, "b"), until(live))
	on := text(bob, t, "#status .chip")
	do(alice, t, "see bob on a node that is left", until(where, "alice a, bob "+on), until(noted, fmt.Sprintf("bob is on node %s now", on)),
		until(isState, "node b", "gone"), until(total, "2 sessions on 2 nodes"))
	do(bob, t, "be there once", until(where, fmt.Sprintf("bob %s, alice a", on)), until(noted, fmt.Sprintf("This tab is on node %s now.", on)))
	says(bob, t, "here I am")
	said = append(said, "here I am")
	shows(alice, t, "hear bob", said)
	shows(bob, t, "have missed nothing", said)

	// The node is started again, and bob goes back to it.
	do(alice, t, "start the node", click(`[aria-label="Start node b"]`), until(isState, "node b", "up"))
	do(bob, t, "move back", click(`[aria-label="Move to node b"]:enabled`), until(onNode, "b"), until(live))
	do(alice, t, "see bob move", until(where, "alice a, bob b"), click(`[aria-label="Wave at bob"]`))
	do(bob, t, "be waved at", until(noted, "alice waves at you from node a"))
	says(alice, t, "welcome back")
	said = append(said, "welcome back")
	shows(bob, t, "hear alice", said)

	// Without the bus each node is by itself.
	do(alice, t, "stop the bus", click(`[aria-label="Stop the bus"]`), until(where, "alice a"), until(isState, "bus", "stopped"),
		until(noted, "Node a has lost the bus: its people have each other, and nobody else."))
	do(alice, t, "start the bus", click(`[aria-label="Start the bus"]`), until(where, "alice a, bob b"), until(noted, "Node a has the bus again."))
	says(bob, t, "there you are")
	said = append(said, "there you are")
	shows(alice, t, "hear bob", said)
}
