package repl

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"kv/protocol"
)

// members are so many voters, of which these numbers can't be reached, and a learner.
func members(voters int, lost ...uint64) (all []protocol.ClusterMember) {
	for id := range uint64(voters) {
		m := protocol.ClusterMember{ID: id + 1, Role: protocol.Voter, Reachable: true}
		for _, l := range lost {
			m.Reachable = m.Reachable && l != m.ID
		}
		all = append(all, m)
	}
	return append(all, protocol.ClusterMember{ID: 100, Role: protocol.Learner})
}

// What is wrong with a cluster is said while it still works, and what it takes when it does not.
func TestUnwell(t *testing.T) {
	for _, test := range []struct {
		name    string
		cluster protocol.ClusterResponse
		says    string
	}{
		{"alone", protocol.ClusterResponse{}, ""},
		{"not founded", protocol.ClusterResponse{Node: 1}, "the server waits to found a cluster, or to join one"},
		{"removed", protocol.ClusterResponse{Cluster: 1, Node: 9, Leader: 1, Members: members(3)},
			"server 9, which has answered, is no member any more"},
		{"well", protocol.ClusterResponse{Cluster: 1, Node: 1, Leader: 1, Members: members(3)}, ""},
		{"five, one lost", protocol.ClusterResponse{Cluster: 1, Node: 1, Leader: 1, Members: members(5, 4)}, ""},
		{"the one that answers is there", protocol.ClusterResponse{Cluster: 1, Node: 1, Leader: 2, Members: members(3, 1)}, ""},
		{"of one", protocol.ClusterResponse{Cluster: 1, Node: 1, Leader: 1, Members: members(1)}, ""},
		{"three, one lost", protocol.ClusterResponse{Cluster: 1, Node: 1, Leader: 1, Members: members(3, 3)},
			"server 3 can't be reached: if one more is lost"},
		{"five, two lost", protocol.ClusterResponse{Cluster: 1, Node: 1, Leader: 1, Members: members(5, 2, 3)},
			"server 2, 3 can't be reached: if one more is lost"},
		{"three, two lost", protocol.ClusterResponse{Cluster: 1, Node: 1,
			Members: members(3, 2, 3)}, "no server leads, and 1 of 3 voters can be reached, of which it takes 2: nothing is written or read; bring back server 2 or 3"},
		{"a leader that does not know yet", protocol.ClusterResponse{Cluster: 1, Node: 1, Leader: 1,
			Members: members(3, 2, 3)}, "1 of 3 voters can be reached, and it takes 2"},
		{"no leader", protocol.ClusterResponse{Cluster: 1, Node: 1, Members: members(3)}, "no server leads: one is being chosen"},
	} {
		if got := unwell(test.cluster); test.says == "" {
			assert.Empty(t, got, test.name)
		} else {
			assert.Contains(t, got, test.says, test.name)
		}
	}
	well := protocol.ClusterResponse{Cluster: 1, Node: 1, Leader: 1, Members: members(3)}
	assert.Equal(t, "server 100 can't be reached", waitsFor(well))
	well.Members[3].Reachable = true
	assert.Equal(t, "server 100 has not caught up", waitsFor(well))
	well.Members = well.Members[:3]
	assert.Empty(t, waitsFor(well))
	assert.Empty(t, waitsFor(protocol.ClusterResponse{}))
	assert.Equal(t, 1, exitCode(unwellError{"x"}))
}
