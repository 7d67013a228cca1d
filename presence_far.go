package wshub

import "github.com/wshub-go/wshub/internal/mesh"

// What the cluster asks about, and tells of, who is in a topic; see mesh.Host.

func (h *Hub) presenceMembers(topic string) ([]mesh.Member, uint64) { return nil, 0 }

func (h *Hub) presenceMembersAre(topic string, of mesh.Origin, node string, members []mesh.Member) {}

func (h *Hub) presenceChanged(topic string, of mesh.Origin, node string, m mesh.Member, joined, ended bool) {
}

func (h *Hub) presenceGone(topic string, of mesh.Origin) {}

func (h *Hub) presenceReady(topic string) {}
