package main

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

//go:embed index.html
var page []byte

// front is what the browser talks to: one origin before all nodes.
type front struct {
	nodes  []*process
	broker *broker // nil with -bus
	bus    string  // the name of the bus with -bus
	turn   atomic.Uint32
}

func (f *front) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", servePage)
	mux.HandleFunc("GET /ws", f.connect)
	mux.HandleFunc("GET /cluster", f.list)
	mux.HandleFunc("POST /node/{id}/{verb}", f.node)
	mux.HandleFunc("POST /bus/{verb}", f.switchBus)
	return http.NewCrossOriginProtection().Handler(mux) // pages of others push no buttons here
}

// connect hands a WebSocket to the node that it asks for, if that is up, or else to the next one in turn.
func (f *front) connect(w http.ResponseWriter, r *http.Request) {
	var up []http.Handler
	for _, p := range f.nodes {
		h := p.handler()
		if h != nil && p.id == r.URL.Query().Get("node") {
			h.ServeHTTP(w, r)
			return
		}
		if h != nil {
			up = append(up, h)
		}
	}
	if len(up) == 0 {
		unavailable(w)
		return
	}
	up[f.turn.Add(1)%uint32(len(up))].ServeHTTP(w, r)
}

// unavailable asks the page to come again: by then the front knows which nodes are gone, or some are back.
func unavailable(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, "no node is up", http.StatusServiceUnavailable)
}

// node pushes a node's button.
func (f *front) node(w http.ResponseWriter, r *http.Request) {
	for _, p := range f.nodes {
		if p.id != r.PathValue("id") {
			continue
		}
		if !p.do(r.PathValue("verb")) {
			http.Error(w, "not now", http.StatusConflict)
		}
		return
	}
	http.NotFound(w, r)
}

// switchBus starts or stops the embedded bus.
func (f *front) switchBus(w http.ResponseWriter, r *http.Request) {
	var err error
	switch verb := r.PathValue("verb"); {
	case f.broker != nil && verb == "start":
		err = f.broker.start()
	case f.broker != nil && verb == "stop":
		f.broker.stop()
	default:
		http.NotFound(w, r)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// list tells how the processes are. How the nodes see each other, they say themselves.
func (f *front) list(w http.ResponseWriter, _ *http.Request) {
	type node struct {
		ID    string `json:"id"`
		State string `json:"state"`
		Again int64  `json:"again"` // ms until it is started again; 0: when it is asked for
	}
	var all struct {
		Nodes []node `json:"nodes"`
		Bus   string `json:"bus"`
		Mine  bool   `json:"mine"` // it can be stopped and started
		Up    bool   `json:"up"`   // of one that is mine
	}
	for _, p := range f.nodes {
		p.mu.Lock()
		n := node{ID: p.id, State: p.state}
		if p.state == "down" && !p.again.IsZero() {
			n.Again = max(1, time.Until(p.again).Milliseconds())
		}
		p.mu.Unlock()
		all.Nodes = append(all.Nodes, n)
	}
	all.Bus, all.Mine, all.Up = f.bus, f.broker != nil, f.broker != nil && f.broker.up()
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(all)
}

// servePage answers with the page. It may load nothing, and talk to nobody but this server.
func servePage(w http.ResponseWriter, _ *http.Request) {
	nonce := rand.Text()
	w.Header().Set("Content-Security-Policy", fmt.Sprintf("default-src 'none'; connect-src 'self'; img-src data:; "+
		"style-src 'nonce-%[1]s'; script-src 'nonce-%[1]s'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", nonce))
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Write(bytes.ReplaceAll(page, []byte("NONCE"), []byte(nonce)))
}
