package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestARollingChangeOfHistory: three nodes that are restarted one by one with another --history keep, and show, the
// same at each moment, and all say so; one without is refused before it starts.
func TestARollingChangeOfHistory(t *testing.T) {
	all := startCluster(t, 3, "--history", "3")
	// shows waits until each node shows so many earlier versions, and says so of its depth.
	shows := func(versions int) {
		for _, m := range all {
			require.Eventually(t, func() bool {
				c, err := m.dial(20 * time.Second)
				require.NoError(t, err)
				defer c.Close()
				h, err := c.History(t.Context(), []byte("a"), 0)
				return err == nil && len(h) == versions+1 && int(stat(t, c, "history_depth")) == versions
			}, 60*time.Second, 20*time.Millisecond, "%s, %d", m.listen, versions)
		}
	}
	differs := func(differ bool) {
		for _, m := range all {
			require.Eventually(t, func() bool {
				c, err := m.dial(20 * time.Second)
				require.NoError(t, err)
				defer c.Close()
				return (stat(t, c, "cluster_settings_differ") == 1) == differ
			}, 60*time.Second, 20*time.Millisecond)
		}
	}
	fill := func() {
		for i := range 8 {
			written(t, all, "a", fmt.Sprint(i))
		}
	}
	fill()
	shows(3)
	differs(false)
	for i, m := range all {
		m.signal(syscall.SIGTERM)
		m.start("--history", "5")
		fill()
		if i < 2 {
			shows(3)
			differs(true)
		}
	}
	differs(false)
	require.Eventually(t, func() bool { // until the log says it
		c, err := all[0].dial(20 * time.Second)
		require.NoError(t, err)
		defer c.Close()
		return stat(t, c, "history_depth") == 5
	}, 60*time.Second, 20*time.Millisecond)
	fill()
	shows(5)
	c := console{t, kvcBinary(t), all[0].listen}
	require.Contains(t, c.done("cluster", "status", "--json"), `"format":2,"format_readable":2}`)

	m := all[0]
	m.signal(syscall.SIGTERM)
	out, code := run(t, "--listen", m.listen, "--data", m.dir, "--sync", "always", "--peer-listen", m.peer, "--peers", m.peers)
	require.Equal(t, exitUsage, code, out)
	require.Contains(t, out, "the cluster keeps earlier versions of keys, and this node was started without --history: start it with --history")
	m.start("--history", "5")
	shows(5)
}

// TestFoundersThatDiffer: founders that are to keep different histories warn of it, once, with what each was started
// with, and found a cluster when the wrong one was restarted; one with less memory, and one that tells clients
// the address of another, is warned of by all.
func TestFoundersThatDiffer(t *testing.T) {
	var all []*member
	var peers []string
	for range 3 {
		m := &member{t: t, dir: t.TempDir(), listen: freeAddress(t), peer: freeAddress(t)}
		all, peers = append(all, m), append(peers, m.peer)
	}
	// warned returns the warnings of a node that begin so.
	warned := func(m *member, begins string) (lines []map[string]any) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, line := range m.log {
			if line["level"] == "WARN" && strings.HasPrefix(line["msg"].(string), begins) {
				lines = append(lines, line)
			}
		}
		return lines
	}
	const (
		histories = "no cluster is founded: the peers were started with different --history or --history-age; restart those that are wrong"
		memory    = "nodes were started with different --max-memory"
		shared    = "nodes tell clients the same address"
	)
	for i, m := range all {
		m.peers = strings.Join(peers, ",")
		m.start("--history", []string{"3", "3", "4"}[i], "--max-memory", "256MiB")
	}
	for _, m := range all {
		require.Eventually(t, func() bool { return len(warned(m, histories)) > 0 }, 60*time.Second, 10*time.Millisecond)
		says := warned(m, histories)[0]["they_have"]
		require.Contains(t, says, "--history 4 at "+all[2].peer)
		require.Regexp(t, "--history 3 at 127.0.0.1:[0-9]+, 127.0.0.1:[0-9]+;", says)
	}
	all[2].signal(syscall.SIGTERM)
	all[2].start("--history", "3", "--max-memory", "128MiB", "--advertise", all[0].listen+","+all[2].peer)
	leader(t, all)
	for _, m := range all {
		require.Len(t, warned(m, histories), 1, "each looks twice a second")
		require.Eventually(t, func() bool { return len(warned(m, memory)) > 0 }, 60*time.Second, 10*time.Millisecond)
		require.Regexp(t, "^[0-9]+ MiB at 127.0.0.1:[0-9]+, 127.0.0.1:[0-9]+; [0-9]+ MiB at "+all[2].peer+"$",
			warned(m, memory)[0]["room_for_data"])
		require.Eventually(t, func() bool { return len(warned(m, shared)) > 0 }, 60*time.Second, 10*time.Millisecond)
		says := warned(m, shared)[0]["shared"]
		require.Regexp(t, "^"+all[0].listen+" at 127.0.0.1:[0-9]+, 127.0.0.1:[0-9]+$", says)
		require.Contains(t, says, all[0].peer)
		require.Contains(t, says, all[2].peer)
	}
}
