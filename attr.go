package wshub

// Attr is a key for metadata of type T on sessions. Two Attrs never meet, also when they have the same name and type.
// Make them with [NewAttr], once, as package variables:
//
//	var nick = wshub.NewAttr[string]("nick")
//
// The zero Attr holds nothing: Set does nothing and Get finds nothing.
type Attr[T any] struct{ key *attrKey }

type attrKey struct{ name string }

// attr is one value on a session.
type attr struct {
	key   *attrKey
	value any // a T
}

// NewAttr returns a new key. The name is for people who debug.
func NewAttr[T any](name string) Attr[T] { return Attr[T]{&attrKey{name}} }

// String returns the name.
func (a Attr[T]) String() string {
	if a.key == nil {
		return ""
	}
	return a.key.name
}

// Set stores v on s, in place of an earlier value. It may be called by any goroutine, also after the session has ended.
func (a Attr[T]) Set(s *Session, v T) {
	if a.key != nil && s != nil {
		s.setAttr(a.key, v)
	}
}

// Get returns the value on s and whether there is one. It allocates nothing.
func (a Attr[T]) Get(s *Session) (T, bool) {
	if a.key != nil && s != nil {
		v, ok := s.attr(a.key)
		t, _ := v.(T) // a T that is an interface may hold nil
		return t, ok
	}
	var zero T
	return zero, false
}

// Delete removes the value from s, if there is one.
func (a Attr[T]) Delete(s *Session) {
	if a.key != nil && s != nil {
		s.deleteAttr(a.key)
	}
}

// Sessions have a handful of attributes: a slice in order of first Set is smaller and faster to search than a map.

func (s *Session) setAttr(key *attrKey, v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.attrs {
		if s.attrs[i].key == key {
			s.attrs[i].value = v
			return
		}
	}
	s.attrs = append(s.attrs, attr{key, v})
}

func (s *Session) attr(key *attrKey) (any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.attrs {
		if s.attrs[i].key == key {
			return s.attrs[i].value, true
		}
	}
	return nil, false
}

func (s *Session) deleteAttr(key *attrKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.attrs {
		if s.attrs[i].key == key {
			last := len(s.attrs) - 1
			s.attrs[i] = s.attrs[last]
			s.attrs[last] = attr{}
			s.attrs = s.attrs[:last]
			return
		}
	}
}
