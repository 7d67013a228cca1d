package wshub

import (
	"fmt"
	"iter"
	"strings"
	"sync"

	"github.com/wshub-go/wshub/internal/fanout"
)

// Family is a set of topics that share a definition and are made as they are needed: rooms, documents, users. It is a
// small immutable value. The zero Family is of no hub; its calls fail with [ErrClosed].
type Family[T any] struct {
	f *familyState
}

// familyState is what all Family values of one prefix share.
type familyState struct {
	hub    *Hub
	prefix string
	def    *definition
	past   fanout.Tally // of topics that have vanished; guarded by registry.past.mu
}

// NewFamily returns the family of topics whose names begin with prefix and a slash; the prefix itself has none. The
// policy and the options are those of each of its topics, see [NewTopic]. Families are few and kept as long as the
// hub. A prefix that is in use with another T or policy is [ErrTopicConflict].
func NewFamily[T any](h *Hub, prefix string, p Policy, opts ...TopicOption[T]) (Family[T], error) {
	def, err := define(h, p, opts)
	if err == nil {
		err = validateName(prefix)
	}
	if err == nil && strings.Contains(prefix, "/") {
		err = fmt.Errorf("%w: a prefix has no slash", ErrName)
	}
	if err != nil {
		return Family[T]{}, fmt.Errorf("family %q: %w", clip(prefix), err)
	}
	f, err := h.reg.families.get(&familyState{hub: h, prefix: prefix, def: def})
	if err != nil {
		return Family[T]{}, err
	}
	return Family[T]{f}, nil
}

// Topic returns the family's topic of the given name, whose full name is the prefix, a slash and name. It does not
// matter how often it is called. Errors match [ErrName], or [ErrTopicConflict] when the full name is in use by
// [NewTopic].
func (f Family[T]) Topic(name string) (Topic[T], error) {
	if f.f == nil {
		return Topic[T]{}, ErrClosed
	}
	if name == "" {
		return Topic[T]{}, fmt.Errorf("family %q: %w: it is empty", f.f.prefix, ErrName)
	}
	full := f.f.prefix + "/" + name
	if err := validateName(full); err != nil {
		return Topic[T]{}, fmt.Errorf("family %q: %w", f.f.prefix, err)
	}
	st, err := f.f.hub.reg.get(full, f.f.def)
	if err != nil {
		return Topic[T]{}, err
	}
	return Topic[T]{st}, nil
}

// All ranges over those topics of the family that have members, streams or history on this node. Topics that appear or
// vanish meanwhile may or may not be seen.
func (f Family[T]) All() iter.Seq[Topic[T]] {
	return func(yield func(Topic[T]) bool) {
		if f.f == nil {
			return
		}
		for st := range f.f.hub.reg.all() {
			if st.def.family == f.f && !yield(Topic[T]{st}) {
				return
			}
		}
	}
}

// Stats returns the account of all topics of the family there are and were.
func (f Family[T]) Stats() Tally {
	if f.f == nil {
		return Tally{}
	}
	match := func(st *topicState) bool { return st.def.family == f.f }
	return tally(f.f.hub.reg.sum(match, func() fanout.Tally { return f.f.past }))
}

// familySet finds families by prefix.
type familySet struct {
	mu       sync.Mutex
	byPrefix map[string]*familyState // guarded by mu
}

// get returns the family of f's prefix, which is f when there was none.
func (x *familySet) get(f *familyState) (*familyState, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if old := x.byPrefix[f.prefix]; old != nil {
		if old.def.typ != f.def.typ || old.def.given != f.def.given {
			return nil, fmt.Errorf("%w: family %q is of %s, not of %s", ErrTopicConflict, f.prefix, old.def, f.def)
		}
		return old, nil
	}
	if x.byPrefix == nil {
		x.byPrefix = make(map[string]*familyState)
	}
	f.def.family = f
	x.byPrefix[f.prefix] = f
	return f, nil
}
