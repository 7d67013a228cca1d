package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wshub-go/wshub"
)

// patience bounds every wait for another process.
const patience = 30 * time.Second

// site is a front, as its clients see it.
type site struct {
	t   *testing.T
	url *url.URL
}

// push pushes a button, and returns the status of the answer.
func (s site) push(path string, header ...string) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "POST", s.url.JoinPath(path).String(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(header) > 0 {
		req.Header.Set(header[0], header[1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// states returns how the processes are, by the ids of the nodes.
func (s site) states() map[string]string {
	s.t.Helper()
	resp, err := http.Get(s.url.JoinPath("cluster").String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var all struct{ Nodes []struct{ ID, State string } }
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		s.t.Fatal(err)
	}
	states := map[string]string{}
	for _, n := range all.Nodes {
		states[n.ID] = n.State
	}
	return states
}

// dial connects as a person, to a node or, with "", to any.
func (s site) dial(name, node string) (*websocket.Conn, *http.Response, error) {
	query := url.Values{"name": {name}, "token": {fmt.Sprintf("%016.8x", name)}}
	if node != "" {
		query.Set("node", node)
	}
	return websocket.DefaultDialer.DialContext(s.t.Context(), "ws://"+s.url.Host+"/ws?"+query.Encode(), nil)
}

// tab is a page of one person.
type tab struct {
	*websocket.Conn
	site
	name string

	Hello
	said   []Chat
	people map[string]wshub.Member // by session
	view   View
	notes  []Note
	waves  []Wave
	failed string // the last error's code
}

// open opens a tab that is on a node.
func (s site) open(name, node string) *tab {
	s.t.Helper()
	p := &tab{site: s, name: name, people: map[string]wshub.Member{}}
	p.again(node)
	return p
}

// again connects the tab, once more.
func (p *tab) again(node string) {
	p.t.Helper()
	conn, resp, err := p.dial(p.name, node)
	if err != nil {
		p.t.Fatalf("%s: dial: %v (%v)", p.name, err, resp)
	}
	p.t.Cleanup(func() { conn.Close() })
	p.Conn, p.Hello = conn, Hello{}
	p.until("hello", func() bool { return p.Node != "" })
	if node != "" && p.Node != node {
		p.t.Fatalf("%s is on node %s, not on %s", p.name, p.Node, node)
	}
}

// until reads what the node says until it makes cond true.
func (p *tab) until(what string, cond func() bool) {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(patience))
	for !cond() {
		if err := p.next(); err != nil {
			p.t.Fatalf("%s waits for %s: %v; nodes %v, people %v", p.name, what, err, p.nodes(), slices.Collect(maps.Values(p.people)))
		}
	}
}

// next takes one message.
func (p *tab) next() error {
	var m struct {
		Event string
		Data  json.RawMessage
	}
	if err := p.ReadJSON(&m); err != nil {
		return err
	}
	into := map[string]any{"hello": &p.Hello, "view": &p.view}
	var chat Chat
	var note Note
	var wave Wave
	var failed struct{ Code string }
	var change wshub.PresenceEvent
	into["chat"], into["note"], into["wave"], into["error"], into["presence"] = &chat, &note, &wave, &failed, &change
	v, ok := into[m.Event]
	if !ok {
		return nil // an answer
	}
	if err := json.Unmarshal(m.Data, v); err != nil {
		return fmt.Errorf("%s %s: %w", m.Event, m.Data, err)
	}
	switch m.Event {
	case "chat":
		p.said = append(p.said, chat)
	case "note":
		p.notes = append(p.notes, note)
	case "wave":
		p.waves = append(p.waves, wave)
	case "error":
		p.failed = failed.Code
	case "presence":
		if change.Kind == wshub.PresenceList {
			clear(p.people)
		}
		for _, member := range change.Members {
			if change.Kind == wshub.PresenceLeft {
				delete(p.people, member.Session)
			} else {
				p.people[member.Session] = member
			}
		}
	}
	return nil
}

// closed reads until the connection ends, and returns the close code: 1006 when there was none.
func (p *tab) closed() int {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(patience))
	for {
		err := p.next()
		var end *websocket.CloseError
		switch {
		case errors.As(err, &end):
			return end.Code
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.t.Fatalf("%s is still connected", p.name)
		case err != nil:
			return websocket.CloseAbnormalClosure
		}
	}
}

// send sends an event without an id.
func (p *tab) send(event string, data any) {
	p.t.Helper()
	if err := p.WriteJSON(map[string]any{"event": event, "data": data}); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// say says a text, with itself as the mark.
func (p *tab) say(text string) {
	p.t.Helper()
	p.send("say", Chat{Text: text, Key: text})
}

// hears waits for a text, which has to come from a node.
func (p *tab) hears(text, node string) {
	p.t.Helper()
	p.until(fmt.Sprintf("%q from node %s", text, node), func() bool {
		return slices.ContainsFunc(p.said, func(c Chat) bool { return c.Text == text && c.Node == node })
	})
}

// sees waits until the list has a person on exactly these nodes, one session each.
func (p *tab) sees(name string, nodes ...string) {
	p.t.Helper()
	p.until(fmt.Sprintf("%s on %v", name, nodes), func() bool { return slices.Equal(p.where(name), nodes) })
}

// where returns the nodes that the list has a person on, sorted.
func (p *tab) where(name string) (nodes []string) {
	for _, m := range p.people {
		if string(m.Data) == fmt.Sprintf("%q", name) {
			nodes = append(nodes, m.Node)
		}
	}
	slices.Sort(nodes)
	return nodes
}

// nodes returns those that the tab's node hears of, sorted.
func (p *tab) nodes() (ids []string) {
	for _, n := range p.view.Nodes {
		ids = append(ids, n.ID)
	}
	slices.Sort(ids)
	return ids
}
