package fanout

import "github.com/wshub-go/wshub/internal/wire"

// write hands the picks over in one call and returns the bytes, or for a feed the values, that were taken.
func (v *visitor) write(s *Subscriber) (int, error) {
	if len(v.picks) == 0 {
		return 0, nil
	}
	if s.conn == nil {
		feed := s.rare.feed
		for i := range v.picks {
			if !feed.TryPut(v.picks[i].entry) {
				return i, nil
			}
		}
		return len(v.picks), nil
	}
	v.pack()
	if len(v.picks) == 1 {
		return s.conn.TryWrite(v.picks[0].frame)
	}
	buf := v.buf[:0]
	for i := range v.picks {
		buf = append(buf, v.picks[i].frame...)
	}
	v.buf = buf[:0]
	return s.conn.TryWrite(buf)
}

// pack joins adjacent texts of a subscription that packs into one frame, kept by the last of them.
func (v *visitor) pack() {
	for i := 0; i < len(v.picks); {
		m := v.sources[v.picks[i].src].m
		if m == nil || !m.rule().Pack || v.picks[i].entry.Frame.Op() != wire.OpText {
			i++
			continue
		}
		j := i + 1
		for j < len(v.picks) && v.picks[j].src == v.picks[i].src && v.picks[j].entry.Frame.Op() == wire.OpText {
			j++
		}
		if j > i+1 {
			var text []byte
			for k := i; k < j; k++ {
				if k > i {
					text = append(text, m.rule().Sep...)
				}
				text = append(text, v.picks[k].entry.Frame.Payload()...)
				v.picks[k].frame = nil
			}
			v.picks[j-1].frame = wire.AppendFrame(nil, wire.OpText, text)
		}
		i = j
	}
}

// commit decides what the write has decided: n bytes (or values) of the picks were taken. Cursors move past what has
// left and past the frame begun, never further. It reports whether anything was decided.
func (v *visitor) commit(s *Subscriber, n int) (moved bool) {
	for i := 0; i < len(v.picks); {
		j := i // picks[i:j+1] share a frame
		for v.picks[j].frame == nil && s.conn != nil {
			j++
		}
		size := len(v.picks[j].frame)
		if s.conn == nil {
			size = 1
		}
		src := &v.sources[v.picks[j].src]
		src.commit, src.refusals = v.picks[j].end, v.picks[j].refused
		count := j - i + 1
		src.picked -= count
		src.taken += count
		for k := i; k <= j; k++ {
			src.size += v.picks[k].entry.Size
		}
		if n < size {
			b := &begun{member: src.m, entry: v.picks[j].entry, count: uint32(count)}
			for k := i; k <= j; k++ {
				b.size += int64(v.picks[k].entry.Size)
			}
			if s.conn != nil {
				b.rest = v.picks[j].frame[n:]
			}
			if src.m != nil {
				src.m.begun.Store(b)
			}
			s.begun = b
			if src.m == nil {
				s.popMail()
			}
			moved = true
			break
		}
		n -= size
		if src.m == nil {
			s.popMail()
			s.e.direct.sent.Add(1)
			s.e.recycle(v.picks[j].entry)
			moved = true
		} else {
			src.sent += count
		}
		i = j + 1
	}
	for i := range v.sources {
		src := &v.sources[i]
		m := src.m
		if m == nil {
			continue
		}
		if src.picked == 0 { // everything picked has left or is begun: so has what the filter refused after it
			src.commit, src.refusals = src.next, src.refused
		}
		if src.commit > 0 {
			moved = true
			if m.rule().paced() {
				v.spend(m, src)
			}
			if src.held {
				m.backlog.pop(m.topic.log, src.commit)
			} else {
				m.cursor.Store(src.entries[0].Offset + uint64(src.commit))
			}
		}
		m.filtered(src.refusals)
		if src.sent > 0 {
			m.sent += uint64(src.sent)
			m.topic.totals.sent.Add(uint64(src.sent))
		}
		if m.lagging.Load() {
			m.topic.dropLag(m)
		}
	}
	v.forget()
	return moved
}
