package wire

import (
	"math/rand/v2"
	"testing"
)

const zeroMask = "\x00\x00\x00\x00"

// violations are what a peer must not send, each after nothing, and the code that ends it.
var violations = []struct {
	name string
	sent string
	code int
}{
	{"unmasked", "\x81\x02hi", 1002},
	{"unmasked close", "\x88\x00", 1002},
	{"length not shortest, 16 bits", "\x81\xfe\x00\x05" + zeroMask + "hello", 1002},
	{"length not shortest, 64 bits", "\x81\xff" + "\x00\x00\x00\x00\x00\x00\x00\x05" + zeroMask + "hello", 1002},
	{"length not shortest, 64 bits for 65535", "\x81\xff" + "\x00\x00\x00\x00\x00\x00\xff\xff" + zeroMask, 1002},
	{"RSV1 without compression", "\xc1\x82" + zeroMask + "hi", 1002},
	{"RSV2", "\xa1\x82" + zeroMask + "hi", 1002},
	{"RSV3", "\x91\x82" + zeroMask + "hi", 1002},
	{"RSV1 on a ping", "\xc9\x80" + zeroMask, 1002},
	{"opcode 3", "\x83\x80" + zeroMask, 1002},
	{"opcode 7", "\x87\x80" + zeroMask, 1002},
	{"opcode 11", "\x8b\x80" + zeroMask, 1002},
	{"opcode 15", "\x8f\x80" + zeroMask, 1002},
	{"fragmented ping", "\x09\x80" + zeroMask, 1002},
	{"ping over 125 bytes", "\x89\xfe\x00\x7e" + zeroMask, 1002},
	{"close over 125 bytes", "\x88\xfe\x00\x7e" + zeroMask, 1002},
	{"continuation of nothing", "\x80\x80" + zeroMask, 1002},
	{"message inside a message", "\x01\x81" + zeroMask + "a" + "\x81\x81" + zeroMask + "b", 1002},
	{"close with one byte", "\x88\x81" + zeroMask + "\x03", 1002},
	{"close with 999", "\x88\x82" + zeroMask + "\x03\xe7", 1002},
	{"close with 1005", "\x88\x82" + zeroMask + "\x03\xed", 1002},
	{"close with 1006", "\x88\x82" + zeroMask + "\x03\xee", 1002},
	{"close with 1015", "\x88\x82" + zeroMask + "\x03\xf7", 1002},
	{"close with 5000", "\x88\x82" + zeroMask + "\x13\x88", 1002},
	{"close reason not UTF-8", "\x88\x84" + zeroMask + "\x03\xe8\xff\xfe", 1007},
	{"over the limit", "\x82\xfe\x04\x01" + zeroMask, 1009},
	{"over the limit in fragments", "\x02\xfe\x04\x00" + zeroMask + repeat(1024) + "\x80\x81" + zeroMask, 1009},
	{"2^31", "\x82\xff" + be64(1<<31) + zeroMask, 1009},
	{"2^62", "\x82\xff" + be64(1<<62) + zeroMask, 1009},
	{"2^63-1", "\x82\xff" + be64(1<<63-1) + zeroMask, 1009},
	{"2^63", "\x82\xff" + be64(1<<63) + zeroMask, 1002},
	{"2^64-1", "\x82\xff" + be64(1<<64-1) + zeroMask, 1002},
}

func TestScannerViolations(t *testing.T) {
	for _, tc := range violations {
		t.Run(tc.name, func(t *testing.T) {
			s := scanner{limit: 1024}
			first := string(text("before"))
			pass := s.scan([]byte(first + tc.sent))
			if s.err == nil || s.err.Code != tc.code {
				t.Fatalf("verdict %v, want %d", s.err, tc.code)
			}
			if pass < len(first) || pass >= len(first+tc.sent) {
				t.Errorf("%d bytes pass of %d+%d", pass, len(first), len(tc.sent))
			}
			if n := s.scan(text("after")); n != 0 {
				t.Errorf("%d bytes pass after the violation", n)
			}
		})
	}
}

func TestScannerAccepts(t *testing.T) {
	for _, tc := range []struct {
		name string
		sent string
		done int
	}{
		{"empty text", string(text("")), 1},
		{"125", string(text(repeat(125))), 1},
		{"126", string(text(repeat(126))), 1},
		{"the limit", string(text(repeat(1024))), 1},
		{"the limit twice", string(text(repeat(1024))) + string(text(repeat(1024))), 2},
		{"fragments", "\x01\x81" + zeroMask + "a\x00\x80" + zeroMask + "\x80\x81" + zeroMask + "b", 1},
		{"ping inside fragments", "\x01\x81" + zeroMask + "a\x89\x80" + zeroMask + "\x80\x81" + zeroMask + "b", 2},
		{"compressed", "\xc1\x81" + zeroMask + "a", 1},
		{"compressed fragments", "\x41\x81" + zeroMask + "a\x80\x81" + zeroMask + "b", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := scanner{limit: 1024, compress: true}
			if n := s.scan([]byte(tc.sent)); s.err != nil || n != len(tc.sent) || s.done != tc.done || s.mid() {
				t.Errorf("scan passes %d of %d, done %d, mid %v, verdict %v", n, len(tc.sent), s.done, s.mid(), s.err)
			}
		})
	}
}

func TestScannerFindsCloseAfterViolation(t *testing.T) {
	s := scanner{limit: 10}
	big := text(repeat(5000))
	s.scan(big[:100])
	if s.err == nil || s.err.Code != 1009 {
		t.Fatalf("verdict %v", s.err)
	}
	s.scan(big[100:])
	s.scan(text("more"))
	s.scan(closing(1009, ""))
	if !s.closed || s.code != 1009 {
		t.Errorf("closed %v, code %d", s.closed, s.code)
	}
}

func TestScannerStopsAtClose(t *testing.T) {
	var s scanner
	s.limit = 10
	c := closing(4001, "done")
	if n := s.scan(append(c, text("more")...)); n != len(c)-1 || !s.closed || s.code != 4001 || s.reason != "done" || s.err != nil {
		t.Errorf("scan passes %d of %d, closed %v with %d %q, %v", n, len(c), s.closed, s.code, s.reason, s.err)
	}
}

// A verdict is what must not depend on how a stream is cut.
type verdict struct {
	pass, done, code, violation int
	closed, mid, lost           bool
	reason                      string
}

func judge(chunks [][]byte, compress bool) verdict {
	s := scanner{limit: 100, compress: compress}
	var v verdict
	for _, c := range chunks {
		v.pass += s.scan(c)
		v.done += s.done
	}
	v.code, v.reason, v.closed, v.mid, v.lost = s.code, s.reason, s.closed, s.mid(), s.lost
	if s.err != nil {
		v.violation = s.err.Code
	}
	return v
}

func FuzzScanner(f *testing.F) {
	for i, tc := range violations {
		f.Add([]byte(string(text("before"))+tc.sent+string(closing(1000, "x"))), uint64(i), i%2 == 0)
	}
	f.Add([]byte(string(text(repeat(100)))+"\xc1\x81"+zeroMask+"a"+string(closing(1000, "bye"))), uint64(1), true)
	f.Fuzz(func(t *testing.T, data []byte, seed uint64, compress bool) {
		whole := judge([][]byte{data}, compress)
		r := rand.New(rand.NewPCG(seed, 1))
		for range 3 {
			var chunks [][]byte
			for rest := data; len(rest) > 0; {
				n := 1 + r.IntN(min(len(rest), 1+r.IntN(20)))
				chunks, rest = append(chunks, rest[:n]), rest[n:]
			}
			if cut := judge(chunks, compress); cut != whole {
				t.Fatalf("in chunks %+v, whole %+v", cut, whole)
			}
		}
		if whole.pass > len(data) || whole.pass < 0 {
			t.Fatalf("%d of %d bytes pass", whole.pass, len(data))
		}
	})
}

func BenchmarkScanner(b *testing.B) {
	var chunk []byte
	for range 10 {
		chunk = append(chunk, text(repeat(100))...)
	}
	s := scanner{limit: 1024}
	b.ReportAllocs()
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		s.scan(chunk)
	}
}
