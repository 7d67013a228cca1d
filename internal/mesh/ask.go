package mesh

import "context"

// CountUser asks all other nodes. It waits for them until ctx ends, or those that do not answer are gone: the count is then
// of those that have answered, and the error ctx's cause.
func (n *Node) CountUser(ctx context.Context, user string) (int, error) { panic("not yet") }

// AskSession asks a session's node whether it is there.
func (n *Node) AskSession(ctx context.Context, id string) (bool, error) { panic("not yet") }

// Present asks all other nodes who is in a topic, likewise.
func (n *Node) Present(ctx context.Context, topic string) ([]NodeMembers, error) { panic("not yet") }

// NodeMembers is who one node has in a topic.
type NodeMembers struct {
	Node    string
	Members []Member
}
