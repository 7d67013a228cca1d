package wshub_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wshub-go/wshub"
	"github.com/wshub-go/wshub/wshubtest"
)

// A quiz with a time limit, and its test in fake time, which takes none and is exact to the nanosecond.

type question struct{ Text, Answer string }

// quizSession asks one question after the other, and closes with what the player has got right.
func quizSession(limit time.Duration, questions ...question) wshub.SessionFunc {
	return func(ctx context.Context, s *wshub.Session) error {
		right := 0
		for _, q := range questions {
			if err := s.Send(ctx, wshub.Text(q.Text)); err != nil {
				return err
			}
			select {
			case m, ok := <-s.Messages():
				switch {
				case !ok:
					return nil // the player has gone
				case m.Text() == q.Answer:
					right++
				}
			case <-time.After(limit):
				s.Send(ctx, wshub.Text("too late"))
			}
		}
		return &wshub.CloseError{Code: 4000, Reason: fmt.Sprintf("%d of %d", right, len(questions))}
	}
}

func TestProgramQuiz(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, err := wshub.New()
		if err != nil {
			t.Fatal(err)
		}
		defer hub.Close()
		const limit = time.Hour
		quiz := hub.Handler(quizSession(limit, question{"1+1?", "2"}, question{"2+2?", "4"}))
		ann, start := wshubtest.Dial(t, quiz), time.Now()

		ann.ExpectText("1+1?")
		time.Sleep(limit - 1)
		ann.SendText("2") // in the last nanosecond
		ann.ExpectText("2+2?")
		time.Sleep(limit - 1)
		ann.ExpectNothing()
		time.Sleep(time.Nanosecond)
		ann.ExpectText("too late")
		if reason, took := ann.ExpectClose(4000), time.Since(start); reason != "1 of 2" || took != 2*limit-1 {
			t.Errorf("closed with %q after %v", reason, took)
		}

		bob, start := wshubtest.Dial(t, quiz, wshubtest.WithoutPong()), time.Now()
		bob.ExpectText("1+1?")
		<-bob.Done() // the hub pings after 30 s, or a little later, and waits for 15 s
		if took := time.Since(start); took < 45*time.Second || took > 53*time.Second {
			t.Errorf("given up after %v", took)
		}
	})
}
