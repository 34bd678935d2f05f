package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/client"
)

// A node that was stopped for so long that the others have given up the log it lacks takes their state, and goes on:
// its connections stay, and a scan that was under way over one of them ends with all keys.
func TestConnectionsStayWhileANodeTakesAState(t *testing.T) {
	all := startCluster(t, 3, "--peer-log", "1MiB")
	written(t, all, "a", "1")
	leads := leader(t, all)
	away := all[0]
	if away == leads {
		away = all[1]
	}
	ctx := t.Context()
	at, err := client.Dial(ctx, leads.listen, client.Options{Timeout: 60 * time.Second})
	require.NoError(t, err)
	defer at.Close()
	for i := range 50 {
		_, err := at.Set(ctx, protocol.Set{Key: fmt.Append(nil, "stays", i), Value: []byte("1")})
		require.NoError(t, err)
	}
	require.Equal(t, "1", away.get("stays49"))
	c, err := client.Dial(ctx, away.listen, client.Options{Timeout: 60 * time.Second})
	require.NoError(t, err)
	defer c.Close()
	page, err := c.Scan(ctx, protocol.Scan{Limit: 5, Prefix: []byte("stays")})
	require.NoError(t, err)
	require.NotEmpty(t, page.Cursor)

	away.signal(syscall.SIGSTOP)
	first, err := leads.status()
	require.NoError(t, err)
	value := make([]byte, 1<<20)
	for i := range 12 { // more than is retained
		_, err := at.Set(ctx, protocol.Set{Key: fmt.Append(nil, "large", i%10), Value: value})
		require.NoError(t, err)
	}
	_, err = at.Set(ctx, protocol.Set{Key: []byte("a"), Value: []byte("2")})
	require.NoError(t, err)
	for _, m := range all {
		if m != away {
			s, err := client.Dial(ctx, m.listen, client.Options{Timeout: 60 * time.Second})
			require.NoError(t, err)
			_, err = s.Snapshot(ctx)
			require.NoError(t, err)
			require.NoError(t, s.Close())
		}
	}
	away.signal(syscall.SIGCONT)
	require.Eventually(t, func() bool {
		v, err := c.Get(ctx, []byte("a"))
		return err == nil && string(v.Data) == "2"
	}, 60*time.Second, 10*time.Millisecond)
	met := map[string]int{}
	for {
		for _, e := range page.Items {
			met[string(e.Key)]++
		}
		if len(page.Cursor) == 0 {
			break
		}
		page, err = c.Scan(ctx, protocol.Scan{Limit: 5, Prefix: []byte("stays"), Cursor: page.Cursor})
		require.NoError(t, err)
	}
	require.Len(t, met, 50)
	for key, n := range met {
		require.Equal(t, 1, n, key)
	}
	select {
	case <-c.Done():
		t.Fatal("the connection has ended")
	default:
	}
	last, err := away.status()
	require.NoError(t, err)
	require.Equal(t, first.Cluster, last.Cluster)
	snapshots, err := os.ReadDir(away.dir)
	require.NoError(t, err)
	received := false
	for _, f := range snapshots {
		received = received || strings.HasPrefix(f.Name(), "snapshot")
	}
	require.True(t, received, "a snapshot was received: the node has never been asked to write one itself")
	require.Eventually(t, func() bool { return leader(t, all).set("a", "3") == nil }, 60*time.Second, 20*time.Millisecond)
	require.Equal(t, "3", away.get("a"))
}
