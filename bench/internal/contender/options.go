package contender

// compressFrom is from how many bytes on a message is compressed: below, none of the libraries gains anything.
const compressFrom = 256

// queue is how many messages may wait for a client in the libraries that have a channel for each: as many as asked for, or
// as many as in the examples of gorilla and melody.
func (o Options) queue() int {
	if o.Queue > 0 {
		return o.Queue
	}
	return 256
}
