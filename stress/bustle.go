package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/wshub-go/wshub"
)

// start begins what happens beside the guests, until ctx ends; wait waits for the end.
func (v *venue) start(ctx context.Context) {
	v.tasks.Go(func() { v.publish(ctx) })
	v.tasks.Go(func() { v.meddle(ctx) })
	for range 4 {
		v.tasks.Go(func() {
			for ctx.Err() == nil {
				v.watch(ctx)
			}
		})
	}
}

func (v *venue) wait() { v.tasks.Wait() }

// publish offers about as many values a second as the rate says: some here, some there, some to all, now and then a burst
// that a guest who does not read cannot keep, and always the next number of the topic.
func (v *venue) publish(ctx context.Context) {
	const tick = 10 * time.Millisecond
	last := make(map[string]uint64)
	say := func(name, key string, more int) int {
		t, err := v.topic(name)
		if err == nil {
			last[key]++
			err = t.Publish(context.Background(), format(key, last[key], more)) // ctx would leave a hole at the end
		}
		if err != nil {
			v.fault(fmt.Errorf("publish to %s: %w", name, err))
		}
		return 1 + t.Len()
	}
	left := 0 // how many may still be offered, less than none after a burst
	<-every(ctx, tick, func() {
		for left += int(float64(v.Rate) * tick.Seconds()); left > 0; {
			switch rand.IntN(400) {
			case 0:
				left -= v.hub.Len()
				if err := v.hub.Everyone().Send(context.Background(), wshub.Text("everyone")); err != nil && !errors.Is(err, wshub.ErrNoSession) {
					v.fault(err)
				}
			case 1, 2, 3:
				name := "room/" + strconv.Itoa(rand.IntN(v.crowd()))
				for range 50 {
					left -= say(name, name, 4000)
				}
			case 4:
				for range 50 {
					left -= say("hall", "hall", 2000)
				}
			case 5:
				for range 50 {
					left -= say("board", "board-"+strconv.Itoa(rand.IntN(5)), 0)
				}
			case 6, 7, 8, 9, 10, 11, 12, 13:
				name := "past/" + strconv.Itoa(rand.IntN(v.crowd()))
				left -= say(name, name, 0)
			default:
				name := "room/" + strconv.Itoa(rand.IntN(v.crowd()))
				left -= say(name, name, rand.IntN(200))
			}
		}
	})
}

// meddle kicks, closes, renames, renews and moves sessions that have not asked for it: of twenty things that happen to the guests of a stay, one.
func (v *venue) meddle(ctx context.Context) {
	pause := max(time.Millisecond, v.Life*20/time.Duration(v.Sessions))
	<-every(ctx, pause, func() {
		v.mu.Lock()
		if len(v.ids) == 0 {
			v.mu.Unlock()
			return
		}
		id := v.ids[rand.IntN(len(v.ids))]
		v.mu.Unlock()
		s, ok := v.hub.Session(id)
		if !ok {
			return
		}
		switch rand.IntN(8) {
		case 0:
			v.hub.To(id).Close(ctx, 4001, "kicked")
		case 1:
			v.hub.User(s.User()).Close(ctx, 4001, "kicked")
		case 2:
			s.Close(4002, "thank you")
		case 3:
			v.hub.User(v.someone()).Leave(ctx, v.anywhere())
		case 4:
			s.SetUser(v.someone())
		case 5:
			s.Renew(ctx, v.identity(v.someone()))
		case 6:
			v.join(ctx, s, []string{"hall", "board"}[rand.IntN(2)]) // others begin anew with a join, of which the guest has to know
		case 7:
			s.LeaveAll()
		}
		v.hub.Stats()
	})
}

// watch adds up who is in a room for a while: nobody may come who is there, or go who is not.
func (v *venue) watch(ctx context.Context) {
	t, err := v.rooms.Topic(strconv.Itoa(rand.IntN(v.crowd())))
	if err != nil {
		v.fault(err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, v.awhile()/4)
	defer cancel()
	in := make(map[string]bool)
	for e := range t.Watch(ctx).C() {
		if e.Kind == wshub.PresenceList {
			clear(in)
		}
		for _, m := range e.Members {
			if in[m.Session] != (e.Kind == wshub.PresenceLeft) {
				v.fault(fmt.Errorf("%s: %s is told of %s, who is in it: %t", t.Name(), e.Kind, m.Session, in[m.Session]))
				return
			}
			in[m.Session] = e.Kind != wshub.PresenceLeft
		}
	}
}
