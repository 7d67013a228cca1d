package mesh

import (
	"encoding/binary"
	"strings"
	"time"
)

// To is who a message is for: sessions of other nodes.
type To struct {
	Kind ToKind
	ID   string // of the user or the session
}

// ToKind is a kind of audience.
type ToKind uint8

// The kinds.
const (
	ToEveryone ToKind = iota + 1 // Kick and Leave only
	ToUser
	ToSession
)

// maxSession is how long the part of a session's id may be that follows the node's.
const maxSession = 255

// WantUser and UnwantUser: the user has sessions here. They do not wait, and are called in turns for one user.
func (n *Node) WantUser(user string)   { n.keep.want(userSubject(user), nil, user, nil) }
func (n *Node) UnwantUser(user string) { n.keep.unwant(userSubject(user), nil) }

// Send sends a message to a user's or a session's other nodes; it does not wait. A session of a node that is not known is
// false.
func (n *Node) Send(to To, m Payload) bool {
	return to.Kind != ToEveryone && n.direct(kindSend, to, m.Binary, m.Data)
}

// Kick and Leave likewise, also for everyone.
func (n *Node) Kick(to To, code uint16, reason string) bool {
	return n.direct(kindKick, to, false, append(binary.BigEndian.AppendUint16(nil, code), reason...))
}
func (n *Node) Leave(to To, topic string) bool { return n.direct(kindLeave, to, false, []byte(topic)) }

func (n *Node) direct(k kind, to To, binary bool, body []byte) bool {
	e := envelope{kind: k, binary: binary, origin: n.origin, time: time.Now().UnixNano()}
	var subject string
	switch to.Kind {
	case ToEveryone:
		subject = subjectAll
	case ToUser:
		subject = userSubject(to.ID)
	case ToSession:
		node, session, ok := strings.Cut(to.ID, ".")
		if !ok || len(session) > maxSession || node == n.config.Node || !n.peers.knows(node) {
			return false
		}
		subject = nodeSubject(node)
		addressed := append(make([]byte, 0, 1+len(session)+len(body)), byte(len(session)))
		addressed = append(addressed, session...)
		body = append(addressed, body...)
	default:
		return false
	}
	_ = n.out.add(nil, subject, &e, body, nil)
	return true
}

// receiveDirect takes a message to some sessions. The loop calls it.
func (n *Node) receiveDirect(e *envelope, subject string) {
	to, body, ok := n.audience(e, subject)
	if !ok {
		return
	}
	switch e.kind {
	case kindSend:
		n.host.Deliver(to, Payload{Binary: e.binary, Data: body})
	case kindKick:
		if len(body) < 2 {
			n.refuse(ErrMalformed)
			return
		}
		n.host.Kick(to, binary.BigEndian.Uint16(body), string(body[2:]))
	case kindLeave:
		n.host.Leave(to, string(body))
	}
}

// audience tells from the subject who a message is for, and what is left of its payload. When it is for nobody here it counts
// why.
func (n *Node) audience(e *envelope, subject string) (to To, body []byte, ok bool) {
	switch {
	case subject == subjectAll && e.kind != kindSend:
		return To{Kind: ToEveryone}, e.payload, true
	case subject == n.subject:
		session, body, ok := cutBytes(e.payload, maxSession)
		if !ok {
			n.refuse(ErrMalformed)
			return To{}, nil, false
		}
		id := n.config.Node + "." + string(session)
		if !n.host.HasSession(id) {
			n.stats.unwanted.Add(1)
			return To{}, nil, false
		}
		return To{Kind: ToSession, ID: id}, body, true
	case strings.HasPrefix(subject, prefixUser), strings.HasPrefix(subject, prefixUserHash):
		if _, to := n.keep.lookup(subject); to.wanted {
			return To{Kind: ToUser, ID: to.user}, e.payload, true
		}
		n.stats.unwanted.Add(1)
		return To{}, nil, false
	}
	n.refuse(ErrMalformed)
	return To{}, nil, false
}
