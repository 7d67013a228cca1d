package mesh

// Told returns the number that Tell last gave a topic, 0 for none: see Host.Members. It is quick.
func (n *Node) Told(topic string) uint64 { panic("not yet") }
