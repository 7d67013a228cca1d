package wshub

import (
	"context"

	"github.com/wshub-go/wshub/internal/mesh"
)

// farTopic is the part that a topic, or everyone, has in the cluster.
type farTopic struct {
	*mesh.Topic // immutable once New, or registry.get, has returned
	hub         *Hub
	st          *topicState // nil: everyone
}

// joinMesh gives st its part in the cluster.
func (st *topicState) joinMesh() {
	st.epoch.Store(st.hub.reg.epochs.next())
	st.far = &farTopic{hub: st.hub, st: st}
	st.far.Topic = st.hub.mesh.Topic(st.name, st.epoch.Load(), st.far)
}

// await has the bus listen to the topic before somebody is the first here to join it, so that what other nodes publish
// after the join is received.
func (st *topicState) await(ctx context.Context) {
	if st.far != nil {
		st.open()
		st.far.Await(ctx)
	}
}

// changed is called after the number of members has changed.
func (st *topicState) changed() {
	if st.far != nil {
		st.far.Changed()
	}
}

func (f *farTopic) Receive(mesh.Value) {}
func (f *farTopic) Len() int           { return 0 }
