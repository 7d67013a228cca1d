package fanout

// What only tests ask.

// Len returns the number of subscriptions.
func (s *Subscriber) Len() int {
	s.lock()
	n := len(s.subs)
	s.release(nil)
	return n
}
