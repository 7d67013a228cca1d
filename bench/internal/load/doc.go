// Package load is the process that holds the clients of the servers under test. One goroutine does everything, around one
// epoll: a connection is less than a hundred bytes, a frame costs a read and its header, and payloads are looked at only
// where they tell when and in which order they were published. So the load uses less of the machine than any server.
//
// It runs on Linux only. The Go runtime raises the soft limit of file descriptors to the hard one.
package load
