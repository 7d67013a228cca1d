package mesh

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"hash"
	"time"
)

// Causes for which a message of the bus is refused. See [Host.Refused].
var (
	// ErrSignature means that a signature is missing, is wrong, or is there although the node has no keys.
	ErrSignature = errors.New("mesh: message without a good signature")
	// ErrReplayed means that a message is signed but was received before, or is too old or from too far ahead.
	ErrReplayed = errors.New("mesh: message replayed or out of time")
)

const (
	macBytes     = 16
	trailerBytes = 8 + macBytes // sequence and mac

	// skew is how far the time of a signed message may be from this node's.
	skew = 30 * time.Second
	// windowWidth is how far behind the greatest sequence number a message may be that comes late.
	windowWidth = 1024
)

// A signature is HMAC-SHA256, cut to 16 bytes, of the subject with its length before it and of all of the envelope before the
// mac. So a message that was taken from one subject is none of another.

// signer signs what leaves. All but on is the sender's.
type signer struct {
	mac      hash.Hash // nil: without keys
	sequence uint64    // the last that was given
	scratch  []byte
}

func (s *signer) init(keys [][]byte) {
	if len(keys) > 0 {
		s.mac = hmac.New(sha256.New, keys[0])
	}
}

// on reports whether messages are signed. Any goroutine may call it.
func (s *signer) on() bool { return s.mac != nil }

// sign returns the envelope with its signature, in place when there is room for it; without keys as it is.
func (s *signer) sign(subject string, data []byte) []byte {
	if s.mac == nil {
		return data
	}
	s.sequence++
	data[3] |= flagSigned
	data = binary.BigEndian.AppendUint64(data, s.sequence)
	s.scratch = sum(s.mac, s.scratch, subject, data)
	return append(data, s.scratch[:macBytes]...)
}

// sum returns the mac of subject and data, whole, in scratch.
func sum(mac hash.Hash, scratch []byte, subject string, data []byte) []byte {
	scratch = binary.AppendUvarint(scratch[:0], uint64(len(subject)))
	scratch = append(scratch, subject...)
	mac.Reset()
	mac.Write(scratch)
	mac.Write(data)
	return mac.Sum(scratch[:0])
}

// verifier verifies what is received. The loop's.
type verifier struct {
	macs    []hash.Hash // of all keys; none: without
	scratch []byte
	windows map[Origin]*window // of origins whose messages of before could still be in time
	swept   time.Time          // when windows was last looked through
}

func (v *verifier) init(keys [][]byte) {
	for _, key := range keys {
		v.macs = append(v.macs, hmac.New(sha256.New, key))
	}
	v.windows = make(map[Origin]*window)
}

// verify returns why the envelope e, which was parsed from data, is not to be taken, if so. It keeps nothing of messages that
// are not signed well.
func (v *verifier) verify(subject string, data []byte, e *envelope, now time.Time) error {
	if len(v.macs) == 0 {
		if e.signed {
			return ErrSignature
		}
		return nil
	}
	if !e.signed || !v.genuine(subject, data) {
		return ErrSignature
	}
	sent := time.Unix(0, e.time)
	if d := now.Sub(sent); d > skew || d < -skew {
		return ErrReplayed
	}
	if now.Sub(v.swept) >= skew {
		v.sweep(now)
	}
	w := v.windows[e.origin]
	if w == nil {
		w = &window{}
		v.windows[e.origin] = w
	}
	if !w.admit(e.sequence) {
		return ErrReplayed
	}
	if sent.After(w.newest) {
		w.newest = sent
	}
	return nil
}

// genuine reports whether one of the keys has made the mac.
func (v *verifier) genuine(subject string, data []byte) bool {
	signed, mac := data[:len(data)-macBytes], data[len(data)-macBytes:]
	for _, m := range v.macs {
		v.scratch = sum(m, v.scratch, subject, signed)
		if subtle.ConstantTimeCompare(v.scratch[:macBytes], mac) == 1 {
			return true
		}
	}
	return false
}

// sweep drops the windows of origins none of whose messages could be in time any more: seen again, they are too old.
func (v *verifier) sweep(now time.Time) {
	v.swept = now
	for o, w := range v.windows {
		if now.Sub(w.newest) > skew {
			delete(v.windows, o)
		}
	}
}

// window knows which of the last windowWidth sequence numbers were received, as in RFC 4303, 3.4.3: with a ring of words, as
// RFC 6479 has it, so that nothing is shifted.
type window struct {
	greatest uint64 // that was received; 0: none
	newest   time.Time
	seen     [2 * windowWidth / 64]uint64 // number n is bit n%64 of word n/64%len; bits beyond greatest are of no account
}

// admit reports whether a sequence number is new, and marks it.
func (w *window) admit(sequence uint64) bool {
	words := uint64(len(w.seen))
	word, bit := sequence/64, uint64(1)<<(sequence%64)
	switch {
	case sequence == 0 || sequence < w.greatest && w.greatest-sequence >= windowWidth:
		return false
	case sequence > w.greatest:
		for i := range min(word-w.greatest/64, words) {
			w.seen[(word-i)%words] = 0
		}
		w.greatest = sequence
	case w.seen[word%words]&bit != 0:
		return false
	}
	w.seen[word%words] |= bit
	return true
}
