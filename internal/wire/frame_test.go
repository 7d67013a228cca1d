package wire

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

func TestAppendFrameLengths(t *testing.T) {
	for _, tc := range []struct {
		n      int
		header []byte
	}{
		{0, []byte{0x82, 0}},
		{1, []byte{0x82, 1}},
		{125, []byte{0x82, 125}},
		{126, []byte{0x82, 126, 0, 126}},
		{65535, []byte{0x82, 126, 0xff, 0xff}},
		{65536, []byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
	} {
		payload := bytes.Repeat([]byte{7}, tc.n)
		got := AppendFrame([]byte("before"), OpBinary, payload)
		want := append(append([]byte("before"), tc.header...), payload...)
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes: header % x, want % x", tc.n, got[6:min(len(got), 20)], tc.header)
		}
		var f Frame
		f.Init(OpBinary, payload)
		if !bytes.Equal(f.Wire(), want[6:]) || !bytes.Equal(f.Payload(), payload) || f.Op() != OpBinary || f.Len() != len(want)-6 {
			t.Errorf("%d bytes: Frame disagrees with AppendFrame", tc.n)
		}
		if headerLen(tc.n) != len(tc.header) {
			t.Errorf("headerLen(%d) = %d", tc.n, headerLen(tc.n))
		}
	}
}

func TestFrameZero(t *testing.T) {
	var f Frame
	if !f.IsZero() || f.Len() != 0 || f.Wire() != nil || f.Payload() != nil || f.Deflated(0) != nil || f.Op() != 0 {
		t.Error("the zero Frame holds something")
	}
	f.Init(OpText, nil)
	if f.IsZero() || f.Len() != 2 {
		t.Error("an empty message is no frame")
	}
}

func TestFrameOwnsItsBytes(t *testing.T) {
	p := []byte(strings.Repeat("abc", 100))
	var f Frame
	f.Init(OpText, p)
	clear(p)
	if got := inflate(t, f.Deflated(0)); got != strings.Repeat("abc", 100) {
		t.Errorf("the deflated form holds the caller's bytes: %q", got[:10])
	}
}

func TestFrameInitAllocs(t *testing.T) {
	p := make([]byte, 300)
	if n := testing.AllocsPerRun(100, func() {
		var f Frame
		f.Init(OpText, p)
	}); n != 1 {
		t.Errorf("Init allocates %v times, want 1", n)
	}
}

func TestFrameDeflatedOnce(t *testing.T) {
	var f Frame
	want := strings.Repeat("the same again ", 1000)
	f.Init(OpText, []byte(want))
	before := Deflations()
	forms := make([][]byte, 100)
	var wg sync.WaitGroup
	for i := range forms {
		wg.Go(func() { forms[i] = f.Deflated(100) })
	}
	wg.Wait()
	if n := Deflations() - before; n != 1 {
		t.Errorf("deflated %d times, want once", n)
	}
	for _, b := range forms {
		if &b[0] != &forms[0][0] {
			t.Fatal("two callers got different copies")
		}
	}
	if len(forms[0]) >= f.Len() {
		t.Errorf("deflated form is %d bytes, plain %d", len(forms[0]), f.Len())
	}
	if got := inflate(t, forms[0]); got != want {
		t.Errorf("inflates to %d bytes, want %d", len(got), len(want))
	}
}

func TestFrameDeflatedWhenNoUse(t *testing.T) {
	for _, tc := range []struct {
		name      string
		payload   string
		threshold int
		made      uint64
	}{
		{"empty", "", 0, 0},
		{"below the threshold", strings.Repeat("a", 99), 100, 0},
		{"does not get smaller", "q7", 0, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var f Frame
			f.Init(OpText, []byte(tc.payload))
			before := Deflations()
			for range 2 {
				if got := f.Deflated(tc.threshold); &got[0] != &f.Wire()[0] {
					t.Error("not the plain form")
				}
			}
			if n := Deflations() - before; n != tc.made {
				t.Errorf("deflated %d times, want %d", n, tc.made)
			}
		})
	}
}

// A large result must not cost the next frame a new deflater.
func TestDeflaterSurvivesLargeFrames(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector a sync.Pool forgets at random")
	}
	p := make([]byte, 4*maxKept)
	rand.NewChaCha8([32]byte{}).Read(p)
	for i := range p {
		p[i] &= 0x0f // shrinks to half
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const n = 20
	for range n {
		if z := deflate(OpBinary, p, len(p)); len(z) < maxKept {
			t.Fatalf("%d bytes", len(z))
		}
	}
	runtime.ReadMemStats(&after)
	each := (after.TotalAlloc - before.TotalAlloc) / n
	t.Logf("%d bytes a frame", each)
	if each > 1<<20 {
		t.Errorf("a frame of %d bytes costs %d", len(p), each)
	}
}

// inflate reads a compressed frame as a client does, RFC 7692 section 7.2.2.
func inflate(t testing.TB, frame []byte) string {
	t.Helper()
	if frame[0]&bitsRSV != bitRSV1 {
		t.Fatalf("first byte %#x lacks RSV1", frame[0])
	}
	f := Frame{buf: frame}
	r := flate.NewReader(io.MultiReader(bytes.NewReader(f.Payload()), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTruncateReason(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"123", repeat(123), repeat(123)},
		{"124", repeat(124), repeat(123)},
		{"on a rune", repeat(122) + "é", repeat(122)},
		{"up to a rune", repeat(121) + "é", repeat(121) + "é"},
		{"four bytes", repeat(120) + "😀", repeat(120)},
		{"invalid", "a\xffb", "a�b"},
		{"invalid and long", strings.Repeat("\xff", 5000), "�"},
		{"long", repeat(1 << 20), repeat(123)},
	} {
		got := TruncateReason(tc.in)
		if got != tc.want || len(got) > 123 || !utf8.ValidString(got) {
			t.Errorf("%s: TruncateReason = %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestValidCloseCode(t *testing.T) {
	for code := -1; code < 6000; code++ {
		want := code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
		if ValidCloseCode(code) != want {
			t.Errorf("ValidCloseCode(%d) = %v", code, !want)
		}
	}
}

func TestCloseFrame(t *testing.T) {
	for _, tc := range []struct {
		name   string
		code   int
		reason string
		want   string
	}{
		{"no code", 0, "ignored", ""},
		{"plain", 1001, "bye", "\x03\xe9bye"},
		{"reserved code", 1006, "bye", "\x03\xf3bye"},
		{"long reason", 4000, repeat(200), "\x0f\xa0" + repeat(123)},
	} {
		b := closeFrame(tc.code, tc.reason)
		if want := AppendFrame(nil, OpClose, []byte(tc.want)); !bytes.Equal(b, want) {
			t.Errorf("%s: % x, want % x", tc.name, b, want)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte("hello"), uint16(0), true)
	f.Add(bytes.Repeat([]byte("ab"), 40000), uint16(100), false)
	f.Fuzz(func(t *testing.T, payload []byte, threshold uint16, isText bool) {
		op := OpBinary
		if isText {
			op = OpText
		}
		var fr Frame
		fr.Init(op, payload)
		if !bytes.Equal(fr.Payload(), payload) || fr.Op() != op || fr.IsZero() {
			t.Fatal("does not hold what it was given")
		}
		// As a client's frame it passes the scanner: its length is in the shortest form.
		s := scanner{limit: int64(len(payload)) + 1}
		h := bytes.Clone(fr.Wire()[:headerLen(len(payload))])
		h[1] |= bitMask
		s.scan(append(append(h, 0, 0, 0, 0), payload...))
		if s.err != nil || s.done != 1 || s.mid() {
			t.Fatalf("the scanner says %v", s.err)
		}
		z := fr.Deflated(int(threshold))
		if len(z) > fr.Len() {
			t.Fatal("deflated form is longer")
		}
		if z[0]&bitRSV1 != 0 {
			if got := inflate(t, z); got != string(payload) {
				t.Fatal("does not inflate to the payload")
			}
		}
	})
}

func BenchmarkFrameInit(b *testing.B) {
	p := make([]byte, 256)
	b.ReportAllocs()
	for b.Loop() {
		var f Frame
		f.Init(OpText, p)
	}
}

func BenchmarkFrameDeflate(b *testing.B) {
	p := []byte(strings.Repeat(`{"symbol":"ABC","price":12.5}`, 40))
	b.ReportAllocs()
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		var f Frame
		f.Init(OpText, p)
		f.Deflated(0)
	}
}

// be64 is a 127-form length.
func be64(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }
