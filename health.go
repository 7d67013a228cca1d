package wshub

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/wshub-go/wshub/cluster"
)

// Health is how a hub is at one moment. Each field is exact by itself; a session that is just being accepted may be in
// both Sessions and Upgrades. It is what [Hub.LiveHandler] and [Hub.ReadyHandler] answer, as JSON.
type Health struct {
	// Status is "ready"; "full" when [Limits].Sessions are taken, upgrades under way included; "draining" once
	// [Hub.Drain] was called; "closed" once [Hub.Shutdown] or [Hub.Close] was; "bus closed" when the bus of [WithBus]
	// has given up for good. A bus that is down leaves a node ready: its own sessions are served.
	Status string `json:"status"`
	// Ready says that new sessions should come here: the status is "ready".
	Ready bool `json:"ready"`
	// Live is false once the hub is closed and its last session has ended: nothing will happen here any more.
	Live bool `json:"live"`

	Node       string    `json:"node"`
	Started    time.Time `json:"started"`    // when the hub was made
	Uptime     float64   `json:"uptime"`     // since then, in seconds
	Sessions   int       `json:"sessions"`   // open now, as Hub.Len
	Unadmitted int       `json:"unadmitted"` // open now and not among Sessions, see WithAdmission
	Upgrades   int       `json:"upgrades"`   // requests that are being upgraded
	Topics     int       `json:"topics"`     // those with members, streams or history

	Bus      string `json:"bus,omitempty"`       // "up", "down" or "closed"; "" without a bus
	BusError string `json:"bus_error,omitempty"` // why, "" when there is nothing to say
	Nodes    int    `json:"nodes,omitempty"`     // of the cluster that this node knows, itself included; 0 without a bus
}

// Health returns how the hub is. It locks nothing for long and may be called often.
func (h *Hub) Health() Health {
	v := Health{
		Status:     h.status(),
		Live:       true,
		Node:       h.Node(),
		Started:    h.started,
		Uptime:     time.Since(h.started).Seconds(),
		Sessions:   h.Len(),
		Unadmitted: h.table.held(),
		Upgrades:   int(h.upgrading.Load()),
		Topics:     h.reg.len(),
	}
	if h.mesh != nil {
		state, err := h.mesh.State()
		v.Bus = state.String()
		if err != nil {
			v.BusError = err.Error()
		}
		v.Nodes = len(h.mesh.Peers()) + 1
		if state == cluster.StateClosed && v.Status != "closed" {
			v.Status = "bus closed"
		}
	}
	v.Ready = v.Status == "ready"
	if v.Status == "closed" {
		select {
		case <-h.gate.emptied():
			v.Live = false
		default:
		}
	}
	return v
}

func (h *Hub) status() string {
	if h.closedErr() != nil {
		return "closed"
	}
	select {
	case <-h.drain.begun:
		return "draining"
	default:
	}
	if limit := h.opts.limits.Sessions; limit > 0 && h.taken.Load() >= int64(limit) {
		return "full"
	}
	return "ready"
}

// LiveHandler returns a handler for liveness probes: it answers GET and HEAD with [Health] as JSON, 200 while Live and
// 503 otherwise. Whoever restarts a process that is not live restarts none that still has sessions.
func (h *Hub) LiveHandler() http.Handler {
	return h.healthHandler(func(v Health) bool { return v.Live })
}

// ReadyHandler returns a handler for readiness probes: it answers GET and HEAD with [Health] as JSON, 200 while Ready
// and 503 otherwise, and so before Drain refuses the first upgrade. See [WithDrain] for the time load balancers have to
// notice.
func (h *Hub) ReadyHandler() http.Handler {
	return h.healthHandler(func(v Health) bool { return v.Ready })
}

func (h *Hub) healthHandler(good func(Health) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		v := h.Health()
		body, err := json.Marshal(v)
		if err != nil { // it has no field that could fail
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		body = append(body, '\n')
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		status := http.StatusOK
		if !good(v) {
			status = http.StatusServiceUnavailable
		}
		w.WriteHeader(status)
		w.Write(body) // of a HEAD net/http leaves it out
	})
}
