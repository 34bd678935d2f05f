package main

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestARollingChangeOfHistory: three nodes that are restarted one by one with another --history keep, and show, the same at each moment, and all say so; one without
// is refused before it starts.
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
