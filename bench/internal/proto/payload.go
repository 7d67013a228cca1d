package proto

import (
	"encoding/binary"
	"encoding/hex"
)

// A payload is JSON, so that every contender can carry it, with its fields at fixed places:
//
//	{"w":"0000000a","k":"00000007","n":"0000002a","t":"0000000123456789","p":"xxxx…"}
//
// w is the window, k the topic's number (or the client's, for direct ones), n counts from 1 per window and k, t is
// [Now] before the publish call, all in hexadecimal; p fills it up to its size.
const (
	Prefix  = `{"w":"`
	MinSize = len(`{"w":"00000000","k":"00000000","n":"00000000","t":"0000000000000000","p":""}`)

	atWindow = 6
	atKey    = atWindow + 8 + 7
	atNumber = atKey + 8 + 7
	atTime   = atNumber + 8 + 7
	// Head is how many bytes from the start [Parse] needs.
	Head = atTime + 16
)

// Now is the time of the clock that all processes of the machine share, in nanoseconds.
func Now() int64 { return now() }

// Fill returns a payload of size bytes with the fields not set yet: [Set] sets them.
func Fill(size int, like string) []byte {
	const empty = `{"w":"00000000","k":"00000000","n":"00000000","t":"0000000000000000","p":"`
	size = max(size, MinSize)
	p := append(make([]byte, 0, size), empty...)
	for i := 0; len(p) < size-2; i++ {
		p = append(p, like[i%len(like)])
	}
	return append(p, `"}`...)
}

// Set sets the fields of a payload that [Fill] made.
func Set(p []byte, window, key, number uint32, t int64) {
	var b [8]byte
	put := func(at int, v uint32) {
		binary.BigEndian.PutUint32(b[:4], v)
		hex.Encode(p[at:], b[:4])
	}
	put(atWindow, window)
	put(atKey, key)
	put(atNumber, number)
	binary.BigEndian.PutUint64(b[:], uint64(t))
	hex.Encode(p[atTime:], b[:])
}

// Parse reads the fields from the first [Head] bytes of a payload.
func Parse(p []byte) (window, key, number uint32, t int64, ok bool) {
	if len(p) < Head || string(p[:len(Prefix)]) != Prefix {
		return 0, 0, 0, 0, false
	}
	var bad bool
	get := func(at, digits int) (v uint64) {
		for _, c := range p[at : at+digits] {
			switch {
			case c >= '0' && c <= '9':
				v = v<<4 | uint64(c-'0')
			case c >= 'a' && c <= 'f':
				v = v<<4 | uint64(c-'a'+10)
			default:
				bad = true
			}
		}
		return v
	}
	window, key, number = uint32(get(atWindow, 8)), uint32(get(atKey, 8)), uint32(get(atNumber, 8))
	t = int64(get(atTime, 16))
	return window, key, number, t, !bad
}
