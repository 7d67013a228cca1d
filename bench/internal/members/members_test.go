package members

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/wshub-go/wshub/bench/internal/proto"
	"github.com/wshub-go/wshub/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestRun(t *testing.T) {
	in := `{"do":"members","args":{"members":1000,"publishes":5,"size":128}}` + "\n" +
		`{"do":"members","args":{"members":0,"publishes":5}}` + "\n" +
		`{"do":"dance"}` + "\n"
	var out strings.Builder
	if err := Run(strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(out.String()))
	var replies [3]proto.Reply
	for i := range replies {
		if err := dec.Decode(&replies[i]); err != nil {
			t.Fatalf("answer %d: %v in %s", i, err, out.String())
		}
	}
	var r Result
	if err := json.Unmarshal(replies[0].Result, &r); err != nil || replies[0].Error != "" {
		t.Fatal(err, replies[0].Error)
	}
	if r.Bytes < 50 || r.Member <= 0 || r.Call.N != 5 {
		t.Errorf("%+v", r)
	}
	if replies[1].Error == "" || replies[2].Error == "" {
		t.Errorf("no members and no such request are no errors: %s", out.String())
	}
	if err := Run(strings.NewReader("{"), &out); err == nil {
		t.Error("half a request is no error")
	}
}
