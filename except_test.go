package wshub_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// Sessions that are nil, zero, have ended, or are of another hub are no exceptions: everybody else still gets the message. Nor
// are they anybody when a value is for them only.
func TestPitfall13ExceptOfNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, other := newHub(t, wshub.Authenticate(asQuery)), newHub(t)
		ss, cc := sessions(t, h, 3, wshubtest.WithPath("/?as=ann"))
		foreign, _ := sessions(t, other, 3) // the hubs number their sessions alike
		topic := newTopic[string](t, h, "room", wshub.Policy{})
		join(t, topic, ss...)
		cc[2].Close(1000, "")
		<-ss[2].Done()
		nobody := append(foreign, nil, new(wshub.Session), ss[2])
		room := publisher(func(ctx context.Context, m wshub.Message) error {
			return topic.Except(nobody...).Publish(ctx, m.Text())
		})
		chained := publisher(func(ctx context.Context, m wshub.Message) error {
			return topic.Except().Except(nil).Except(nobody...).Publish(ctx, m.Text())
		})
		only := publisher(func(ctx context.Context, m wshub.Message) error {
			return topic.Only(append(nobody, ss[:2]...)...).Except(nobody...).Publish(ctx, m.Text())
		})
		for name, to := range map[string]wshub.Sender{
			"Everyone": h.Everyone().Except(nobody...), "User": h.User("ann").Except(nobody...).Except(nil), "nothing": h.Everyone().Except(),
			"Topic": room, "Target": chained, "Only": only,
		} {
			if err := to.Send(t.Context(), wshub.Text(name)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for _, c := range cc[:2] {
				c.ExpectText(name)
			}
		}
		for i, s := range ss[:2] {
			if err := h.To(s.ID()).Except(nobody...).Send(t.Context(), wshub.Text("to")); err != nil {
				t.Error(err)
			}
			cc[i].ExpectText("to")
		}
		if n, err := h.Everyone().Except(nobody...).Count(t.Context()); n != 2 || err != nil {
			t.Errorf("%d without nobody, %v", n, err)
		}
		publish(t, topic.Only(nobody...), "for nobody")
		for _, c := range cc[:2] {
			c.ExpectNothing()
		}
		// What has no hub of its own has no exceptions either, and says what it is.
		wshub.Audience{}.Except(nobody...)
		wshub.Topic[string]{}.Except(nobody...)
		wshub.Target[string]{}.Except(nobody...)
		if n, err := (wshub.Audience{}).Except(nobody...).Count(t.Context()); n != 0 || err != nil {
			t.Errorf("%d of nobody, %v", n, err)
		}
	})
}
