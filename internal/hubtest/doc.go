// Package hubtest puts hubs on a broker, under load and through its failures, and accounts for every value. The tests of
// each bus give it theirs; the library never imports it.
//
// All values are text: topic, origin and a number that counts what the origin has published of the topic, from 1, as the
// cluster itself does. So whoever gets one can tell whether it comes in its turn, and what an EventGap says is missing can
// be held against what has come.
package hubtest
