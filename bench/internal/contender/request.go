package contender

import (
	"errors"
	"net/url"
	"strconv"
)

// maxNumber bounds the numbers of clients and topics, which index slices.
const maxNumber = 1 << 24

// params is what a client asks for in its path.
type params struct{ id, topic int }

// paramsOf reads them; a request without them is answered with 400.
func paramsOf(q url.Values) (params, error) {
	id, err := number(q.Get("id"))
	if err != nil {
		return params{}, errors.New("the request has no id")
	}
	topic, err := number(q.Get("topic"))
	if err != nil {
		return params{}, errors.New("the request has no topic")
	}
	return params{id, topic}, nil
}

func number(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n >= maxNumber {
		return 0, errors.New("not a number of a client or topic")
	}
	return n, nil
}

// command reads "+t7" and "-t7".
func command(message []byte) (topic int, join, ok bool) {
	if len(message) < 3 || len(message) > 16 || message[1] != 't' || message[0] != '+' && message[0] != '-' {
		return 0, false, false
	}
	topic, err := number(string(message[2:]))
	return topic, message[0] == '+', err == nil
}
