package resp_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
)

// cluster is one that never changes.
type cluster struct{ protocol.ClusterResponse }

func (c *cluster) Status() protocol.ClusterResponse              { return c.ClusterResponse }
func (c *cluster) Change(context.Context, protocol.Member) error { return nil }

func TestWhoLeadsIsSaid(t *testing.T) {
	for _, tt := range []struct{ leader, role, info, hello, wait string }{
		{"", `["slave" "" (0) "connect" (7)]`, "role:slave\r\nmaster_host:\r\nmaster_port:\r\n", "replica",
			"ERR WAIT cannot be used with replica instances."},
		{"10.0.0.2:7070", `["slave" "10.0.0.2" (7070) "connected" (7)]`, "role:slave\r\nmaster_host:10.0.0.2\r\nmaster_port:7070\r\n", "replica", "ERR WAIT cannot be used with replica instances."},
		{"self", `["master" (0) []]`, "role:master\r\nconnected_slaves:2\r\n", "master", "(1)"},
	} {
		all := &cluster{protocol.ClusterResponse{Cluster: 5, Node: 1, Committed: 7,
			Members: []protocol.ClusterMember{{ID: 1, Role: protocol.Voter, Client: "10.0.0.1:7070"},
				{ID: 2, Role: protocol.Voter, Client: tt.leader}, {ID: 3, Role: protocol.Learner}}}}
		switch tt.leader {
		case "":
		case "self":
			all.Leader = 1
		default:
			all.Leader = 2
		}
		c := dial(t, nettest.Start(t, withDoor(netserver.Config{Cluster: all})))
		assert.Equal(t, tt.role, c.do("ROLE"))
		assert.Contains(t, c.do("INFO replication"), tt.info)
		assert.Equal(t, tt.wait, c.do("WAIT 1 0"))
		assert.Contains(t, c.do("HELLO"), `"role" "`+tt.hello+`"`)
	}
}
