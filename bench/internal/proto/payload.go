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
	w, okW := hex8(p[atWindow:])
	k, okK := hex8(p[atKey:])
	n, okN := hex8(p[atNumber:])
	high, okHigh := hex8(p[atTime:])
	low, okLow := hex8(p[atTime+8:])
	return w, k, n, int64(uint64(high)<<32 | uint64(low)), okW && okK && okN && okHigh && okLow
}

// hex8 is the value of the eight lower-case hexadecimal digits that p starts with. The load reads millions of them a
// second, and a branch for each digit, which is a letter or not as it comes, costs ten times as much.
func hex8(p []byte) (uint32, bool) {
	const each = 0x0101010101010101 // a byte times each is that byte eight times
	x := binary.BigEndian.Uint64(p)
	letter := x >> 6 & each       // 1 for 0x61 to 0x66, 0 for 0x30 to 0x39
	v := x&(0x0f*each) + 9*letter // at most 24: no byte reaches into the next
	above9 := (v + (0x80-10)*each) >> 7 & each
	ok := x&(0xf0*each) == 0x30*each+0x30*letter && above9 == letter && v&(0x10*each) == 0
	v = (v | v>>4) & 0x00ff00ff00ff00ff
	v = (v | v>>8) & 0x0000ffff0000ffff
	return uint32(v | v>>16), ok
}
