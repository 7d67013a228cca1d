package wshub_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// Text of a client that is not UTF-8 reaches nobody, however it comes, and is closed with 1007.
func TestPitfall11TextIn(t *testing.T) {
	text := wshubtest.OpText
	for name, sent := range map[string][][]byte{
		"whole":                {wshubtest.Frame(true, text, []byte("a\xffb"))},
		"overlong":             {wshubtest.Frame(true, text, []byte("\xc0\x80"))},
		"surrogate":            {wshubtest.Frame(true, text, []byte("\xed\xa0\x80"))},
		"half a rune":          {wshubtest.Frame(true, text, []byte("€"[:2]))},
		"a rune in two, wrong": {wshubtest.Frame(false, text, []byte("\xc3")), wshubtest.Frame(true, wshubtest.OpContinuation, []byte("\x28"))},
		"the rest is to come":  {wshubtest.Frame(false, text, []byte("\xff"))},
		"compressed":           {wshubtest.Frame(true, text|wshubtest.RSV1, wshubtest.Deflate([]byte("a\xffb")))},
		"compressed, in two": {
			wshubtest.Frame(false, text|wshubtest.RSV1, wshubtest.Deflate([]byte("a\xffb"))[:2]),
			wshubtest.Frame(true, wshubtest.OpContinuation, wshubtest.Deflate([]byte("a\xffb"))[2:]),
		},
		"in the close frame": {wshubtest.Frame(true, wshubtest.OpClose, []byte("\x03\xe8\xff"))},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, wshub.WithCompression(0))
				var got []string
				arrived := make(chan *wshub.Session, 1)
				c := wshubtest.Dial(t, h.Handler(func(_ context.Context, s *wshub.Session) error {
					arrived <- s
					for m := range s.Messages() {
						got = append(got, m.Text())
					}
					return nil
				}), wshubtest.WithCompression())
				s := <-arrived
				c.SendText("a€") // what is right passes
				c.SendFrame(false, text, []byte("€"[:1]))
				c.SendFrame(true, wshubtest.OpContinuation, []byte("€"[1:]))
				for _, frame := range sent {
					c.SendRaw(frame)
				}
				c.ExpectClose(1007)
				<-s.Done()
				if len(got) != 2 || got[0] != "a€" || got[1] != "€" {
					t.Errorf("received %q", got)
				}
				if !errors.Is(s.Err(), wshub.ErrUTF8) || !errors.Is(s.Err(), &wshub.CloseError{Code: 1007}) {
					t.Errorf("Err is %v", s.Err())
				}
			})
		})
	}
}

// Text that is not UTF-8 is an error of whoever sends it, and no client gets it; nor is it made part of anything.
func TestPitfall11TextOut(t *testing.T) {
	for _, text := range []string{"\"\xff\"", "\"\xed\xa0\x80\"", "\"€"[:2] + "\""} {
		wantSendError(t, wshub.Text(text), wshub.ErrUTF8)
	}
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, wshub.WithMember(func(*wshub.Session) any { return nil }))
		ss, cc := sessions(t, h, 1)
		strings := newTopic[string](t, h, "strings", wshub.Policy{})
		raw := newTopic[json.RawMessage](t, h, "raw", wshub.Policy{})
		join(t, strings, ss[0])
		join(t, raw, ss[0])
		bad := json.RawMessage("\"\xff\"")
		_, jsonErr := wshub.JSON(bad)
		for name, err := range map[string]error{
			"string":    strings.Publish(t.Context(), "\xff"),
			"raw JSON":  raw.Publish(t.Context(), bad),
			"JSON":      jsonErr,
			"SendJSON":  wshub.SendJSON(t.Context(), ss[0], bad),
			"SendEvent": wshub.SendEvent(t.Context(), ss[0], "news", bad),
		} {
			if !errors.Is(err, wshub.ErrUTF8) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for name, err := range map[string]error{
			"separator": newErr[string](h, "packed", wshub.PackText("\xff")),
			"name":      newErr[string](h, "\xff", wshub.Policy{}),
			"event":     wshub.SendEvent(t.Context(), ss[0], "\xff", 1),
		} {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		cc[0].ExpectNothing()
	})
	// What a Mux answers with is made valid or is answered with an error.
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, wshub.WithLogger(nil))
		m := new(wshub.Mux)
		wshub.Reply(m, "raw", func(context.Context, *wshub.Session, struct{}) (json.RawMessage, error) {
			return json.RawMessage("\"\xff\""), nil
		})
		wshub.Handle(m, "public", func(context.Context, *wshub.Session, struct{}) error {
			return &wshub.PublicError{Code: "\xff", Err: errors.New("a\xffb")}
		})
		c := wshubtest.Dial(t, h.Handler(wshub.Each(m.Message)))
		c.SendText(`{"event":"raw"}`)
		c.ExpectText(`{"event":"error","data":{"code":"internal","message":"internal error"}}`)
		c.SendText(`{"event":"public"}`)
		c.ExpectJSON(map[string]any{"event": "error", "data": map[string]string{"code": "\ufffd", "message": "a\ufffdb"}})
	})
}
