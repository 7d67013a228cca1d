package mesh

import (
	"bytes"
	"encoding/binary"
	"time"
)

// Kinds of control messages, and what their bodies are. A name is its length in one byte and its bytes, a text its length as
// an uvarint and its bytes, an intro the sender's id (a name) and its interval in milliseconds.
const (
	kindHello   kind = firstControl + iota // intro
	kindBye                                // nothing
	kindBeat                               // see report
	kindPart                               // of a snapshot; see report
	kindWant                               // intro, the origin that is asked for a snapshot
	kindAsk                                // intro, number of the ask, question, text
	kindAnswer                             // origin that has asked, number of the ask, number of the answer, part; then what was asked for
	kindWatch                              // intro, names
	kindUnwatch                            // names
	kindMembers                            // origin that watches, blocks; see receiveMembers
	kindChange                             // name, number, flags, member
)

const (
	// maxBody is when a body that can be split is. The longest item still fits below 32 KiB, with envelope and signature.
	maxBody = 31 << 10
	// maxBodies is how many messages of one sort are posted at once, the rest a little later: the outbox is for values too.
	maxBodies = 64
	bodyPause = 20 * time.Millisecond

	maxNameLen  = 255
	maxCount    = 1<<31 - 1
	minInterval = time.Millisecond
	maxInterval = time.Hour
)

func appendName(dst []byte, name string) []byte {
	return append(append(dst, byte(len(name))), name...)
}

func appendText(dst []byte, text string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}

func (n *Node) appendIntro(dst []byte) []byte {
	return binary.AppendUvarint(appendName(dst, n.config.Node), uint64(n.config.Interval/time.Millisecond))
}

func appendMember(dst []byte, m Member) []byte {
	dst = appendText(appendText(dst, m.Session), m.User)
	if m.Data == nil {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(append(dst, 1), uint64(len(m.Data)))
	return append(dst, m.Data...)
}

// cutter takes a body apart. What it returns shares the body's bytes. Once something is not there or out of bounds it is bad,
// and all that follows is zero: it is enough to ask in the end.
type cutter struct {
	rest []byte
	bad  bool
}

// whole reports whether all of the body was read, and nothing was wrong with it.
func (c *cutter) whole() bool { return !c.bad && len(c.rest) == 0 }

// more reports whether there is more to read.
func (c *cutter) more() bool { return !c.bad && len(c.rest) > 0 }

func (c *cutter) fail() { c.rest, c.bad = nil, true }

func (c *cutter) uvarint() uint64 {
	v, rest, ok := cutUvarint(c.rest)
	if !ok {
		c.fail()
		return 0
	}
	c.rest = rest
	return v
}

// count takes an uvarint that is no more than limit.
func (c *cutter) count(limit uint64) uint64 {
	v := c.uvarint()
	if v > limit {
		c.fail()
		return 0
	}
	return v
}

func (c *cutter) byte() byte {
	if len(c.rest) == 0 {
		c.fail()
		return 0
	}
	b := c.rest[0]
	c.rest = c.rest[1:]
	return b
}

func (c *cutter) origin() Origin {
	if len(c.rest) < 8 {
		c.fail()
		return 0
	}
	o := Origin(binary.BigEndian.Uint64(c.rest))
	c.rest = c.rest[8:]
	return o
}

func (c *cutter) name() []byte {
	v, rest, ok := cutBytes(c.rest, maxNameLen)
	if !ok {
		c.fail()
		return nil
	}
	c.rest = rest
	return v
}

func (c *cutter) text() []byte {
	size := c.uvarint()
	if size > uint64(len(c.rest)) {
		c.fail()
		return nil
	}
	v := c.rest[:size:size]
	c.rest = c.rest[size:]
	return v
}

// member takes a member, whose bytes are copied: a list is not to keep the message.
func (c *cutter) member() Member {
	m := Member{Session: string(c.text()), User: string(c.text())}
	switch c.byte() {
	case 0:
	case 1:
		if m.Data = bytes.Clone(c.text()); m.Data == nil {
			m.Data = []byte{}
		}
	default:
		c.fail()
	}
	return m
}

// skipMember is member without making it.
func (c *cutter) skipMember() {
	c.text()
	c.text()
	switch c.byte() {
	case 0:
	case 1:
		c.text()
	default:
		c.fail()
	}
}

// intro is who a message is from.
type intro struct {
	node     []byte
	interval time.Duration
}

func (c *cutter) intro() intro {
	in := intro{node: c.name(), interval: time.Duration(c.count(uint64(maxInterval/time.Millisecond))) * time.Millisecond}
	if !isToken(in.node) || in.interval < minInterval { // its id becomes part of a subject
		c.fail()
	}
	return in
}
