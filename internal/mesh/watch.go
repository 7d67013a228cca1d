package mesh

// Watch has Host told of a topic's members on other nodes, until Unwatch. WatchReady comes once for each Watch. They do
// not wait, and are called in turns for one topic.
func (n *Node) Watch(topic string)   { panic("not yet") }
func (n *Node) Unwatch(topic string) { panic("not yet") }

// Watched reports whether another node watches the topic: changes have to be told then. It is quick.
func (n *Node) Watched(topic string) bool { panic("not yet") }

// Tell tells those that watch of a change here, and returns its number (see Host.Members); 0 when nobody watches. The
// caller holds its own lock around its change, Tell, and Members. It does not wait.
func (n *Node) Tell(topic string, m Member, joined, ended bool) uint64 { panic("not yet") }
