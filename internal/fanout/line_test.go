package fanout

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wshub-go/wshub/internal/queue"
)

// TestLineAgainstModel compares a line with a list of keys in the order of their turns, also when the numbers of turns
// run out.
func TestLineAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		l := queue.NewLog(queue.Config{})
		var x line
		if seed%2 == 0 {
			x.clock = 1<<32 - 1 - r.Uint32N(40)
		}
		var turns []int // keys that the line knows, whose turn is first first
		pending := map[int]*queue.Entry{}
		for range 400 {
			if r.IntN(3) > 0 {
				e := &queue.Entry{Key: r.IntN(20), Size: 1 + r.IntN(5)}
				if err := l.Append(e); err != nil {
					t.Fatal(err)
				}
				key := e.Key.(int)
				if got, want := x.enter(l, e), pending[key] != nil; got != want {
					t.Fatalf("seed %d: superseded %v, want %v", seed, got, want)
				}
				l.Trim(l.Head())
				if !slices.Contains(turns, key) {
					turns = append(turns, key)
				}
				pending[key] = e
			} else {
				n := r.IntN(5)
				offered := x.next(nil, n)
				var want []*queue.Entry
				for _, key := range turns {
					if e := pending[key]; e != nil && len(want) < n {
						want = append(want, e)
					}
				}
				if !slices.Equal(offered, want) {
					t.Fatalf("seed %d: offered %v, want %v", seed, keysOf(offered), keysOf(want))
				}
				k := r.IntN(len(offered) + 1)
				x.sent(l, k)
				for _, e := range offered[:k] {
					key := e.Key.(int)
					delete(pending, key)
					turns = slices.DeleteFunc(turns, func(k int) bool { return k == key })
					turns = append(turns, key)
				}
				if len(pending) == 0 {
					turns = nil
				}
			}
			if x.len() != len(pending) || l.Keys() != len(turns) {
				t.Fatalf("seed %d: %d values of %d keys, want %d of %d", seed, x.len(), l.Keys(), len(pending), len(turns))
			}
		}
		x.clear(l)
		if l.Keys() != 0 || !l.Idle() {
			t.Fatalf("seed %d: keys are held for ever", seed)
		}
	}
}

func keysOf(entries []*queue.Entry) (keys []any) {
	for _, e := range entries {
		keys = append(keys, e.Key)
	}
	return keys
}
