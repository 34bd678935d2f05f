package main

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/client"
)

// logged waits for a line of the node's log, and returns it.
func (m *member) logged(msg string) (line map[string]any) {
	require.Eventually(m.t, func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, line = range m.log {
			if line["msg"] == msg {
				return true
			}
		}
		return false
	}, time.Minute, 10*time.Millisecond, msg)
	return line
}

// TestLogOfACluster: who reads the logs of nodes that are founded, lead, join and are removed learns of each that, by
// the numbers that kvc prints, and of nothing that is no trouble as if it were. What reads JSON takes every number as
// it is.
func TestLogOfACluster(t *testing.T) {
	all := startCluster(t, 3)
	leads := leader(t, all)
	status, err := leads.status()
	require.NoError(t, err)
	cluster := strconv.FormatUint(status.Cluster, 10)
	for _, m := range all {
		s, err := m.status()
		require.NoError(t, err)
		line := m.logged("this node begins as a member")
		require.Equal(t, strconv.FormatUint(s.Node, 10), line["node"])
		require.Equal(t, m.peer, line["address"])
		require.Equal(t, cluster, line["cluster"])
		if m == leads {
			m.logged("this node leads")
		} else {
			line := m.logged("another node leads")
			require.Equal(t, strconv.FormatUint(status.Node, 10), line["node"])
			require.Equal(t, leads.peer, line["address"])
		}
	}

	fourth := &member{t: t, dir: t.TempDir(), listen: freeAddress(t), peer: freeAddress(t), peers: all[0].peers}
	fourth.start("--http", freeAddress(t))
	fourth.logged("a member has become a voter")
	s, err := fourth.status()
	require.NoError(t, err)
	id := strconv.FormatUint(s.Node, 10)
	for _, msg := range []string{"a member has joined, and gets the data", "a member has become a voter"} {
		line := leader(t, all).logged(msg)
		require.Equal(t, id, line["node"])
		require.Equal(t, fourth.peer, line["address"])
	}
	c, err := client.Dial(t.Context(), all[0].listen+","+all[1].listen, client.Options{Timeout: 20 * time.Second})
	require.NoError(t, err)
	defer c.Close()
	if leader(t, append(all, fourth)) == fourth {
		require.NoError(t, c.Member(t.Context(), protocol.Member{Change: protocol.MemberTransfer, ID: status.Node}))
	}
	require.NoError(t, c.Member(t.Context(), protocol.Member{Change: protocol.MemberRemove, ID: s.Node}))
	require.Equal(t, id, leads.logged("a member has been removed")["node"])
	require.Equal(t, "WARN", fourth.logged("this node is no member of its cluster any more: stop it, and remove its folder before it joins again")["level"])
	require.Eventually(t, func() bool {
		status, body := fourth.p.get("/readyz")
		return status == 503 && body == "this node is no member of its cluster any more: it was removed\n"
	}, time.Minute, 10*time.Millisecond)

	for _, m := range append(all, fourth) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, line := range m.log {
			require.NotContains(t, fmt.Sprint(line["error"]), "cluster", "%v", line) // that it belongs to none yet, or to another
			for name, value := range line {
				switch value := value.(type) {
				case string, bool, []any:
				case float64:
					require.Less(t, value, float64(1<<53), "%s of %v", name, line)
				default:
					require.Fail(t, "not for people", "%s of %v", name, line)
				}
			}
		}
	}
}
