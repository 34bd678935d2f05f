package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/client"
)

// voters waits until the node knows of so many voters and of no learner.
func (m *member) voters(n int) (s protocol.ClusterResponse) {
	m.t.Helper()
	require.Eventually(m.t, func() bool {
		var err error
		if s, err = m.status(); err != nil || len(s.Members) != n {
			return false
		}
		for _, x := range s.Members {
			if x.Role != protocol.Voter {
				return false
			}
		}
		return true
	}, 60*time.Second, 20*time.Millisecond)
	return s
}

// TestRecover: of three nodes, whose logs are of different lengths, all are killed and two are lost; the one that has
// most becomes a new cluster with all that was answered, the lost ones are refused when they come back, and join once
// their folders are removed.
func TestRecover(t *testing.T) {
	all := startCluster(t, 3)
	leads := leader(t, all)
	behind := all[0]
	if behind == leads {
		behind = all[1]
	}
	for i := range 30 {
		if i == 10 {
			behind.signal(syscall.SIGKILL)
		}
		written(t, all, fmt.Sprint("key", i), fmt.Sprint(i))
	}
	out, code := run(t, "cluster", "recover", "--yes", leads.dir)
	require.Equal(t, exitInUse, code, out)
	for _, m := range all {
		if m.running() {
			m.signal(syscall.SIGKILL)
		}
	}

	dirs := []string{all[0].dir, all[1].dir, all[2].dir}
	out, code = run(t, append([]string{"cluster", "show", "--json"}, dirs...)...)
	require.Zero(t, code, out)
	var standings []standing
	require.NoError(t, json.Unmarshal([]byte(out), &standings))
	most := all[0]
	for i, s := range standings {
		require.Equal(t, dirs[i], s.Dir)
		require.Equal(t, standings[0].Cluster, s.Cluster)
		require.Len(t, s.Members, 3)
		require.True(t, s.Whole)
		if all[i] != behind && (most == behind || s.LastIndex > standings[0].LastIndex) {
			most = all[i]
		}
	}
	out, code = run(t, append([]string{"cluster", "show"}, dirs...)...)
	require.Zero(t, code, out)
	require.Contains(t, out, "most has ")
	require.Contains(t, out[strings.LastIndex(out, "most has "):], most.dir)
	require.NotContains(t, out[strings.LastIndex(out, "most has "):], behind.dir)
	out, code = run(t, "check", behind.dir)
	require.Zero(t, code, out)
	require.Contains(t, out, fmt.Sprint("of cluster ", standings[0].Cluster))

	damaged := t.TempDir()
	require.NoError(t, os.CopyFS(damaged, os.DirFS(most.dir)))
	logs, err := filepath.Glob(filepath.Join(damaged, "log-*"))
	require.NoError(t, err)
	data, err := os.ReadFile(logs[0])
	require.NoError(t, err)
	data[30] ^= 1
	require.NoError(t, os.WriteFile(logs[0], data, 0o600))
	for _, args := range [][]string{{"cluster", "recover", "--yes", damaged}, {"cluster", "recover", damaged},
		{"cluster", "show", damaged}} {
		out, code = run(t, args...)
		require.Equal(t, exitDamaged, code, out)
		require.Contains(t, out, logs[0]+" is damaged at offset")
	}
	require.NoFileExists(t, filepath.Join(damaged, "RECOVERED"))

	out, code = run(t, "cluster", "recover", most.dir)
	require.Equal(t, exitUsage, code, out)
	require.Contains(t, out, "What the other 2 voters have and this folder has not is lost.")
	require.Contains(t, out, "say with --yes that this is meant")
	out, code = run(t, "cluster", "recover", "--yes", most.dir)
	require.Zero(t, code, out)
	require.Contains(t, out, "its only member, with all up to version ")
	notes, err := os.ReadFile(filepath.Join(most.dir, "RECOVERED"))
	require.NoError(t, err)
	require.Contains(t, string(notes), fmt.Sprint(" of cluster ", standings[0].Cluster))
	out, code = run(t, append([]string{"cluster", "show"}, dirs...)...)
	require.Zero(t, code, out)
	require.Contains(t, out, "they are of different clusters")

	most.start()
	leader(t, []*member{most})
	began := time.Now().UnixMicro()
	for i := range 30 {
		require.Equal(t, fmt.Sprint(i), most.get(fmt.Sprint("key", i)))
	}
	require.NoError(t, most.set("new", "1"))
	version := most.version("new")
	require.Greater(t, version, standings[0].Version)
	require.InDelta(t, began, version, 60e6, "no version that a lost node has given is given again")

	// The others come back as they were: they are no part of it.
	for _, m := range all {
		if m == most {
			continue
		}
		m.start()
		old, err := m.status()
		require.NoError(t, err)
		require.Equal(t, standings[0].Cluster, old.Cluster)
		require.Error(t, m.set("key0", "of the old cluster"))
		m.signal(syscall.SIGKILL)
		require.NoError(t, os.RemoveAll(m.dir))
	}
	most.voters(1)
	require.Equal(t, "0", most.get("key0"))
	for _, m := range all {
		if m != most {
			m.start()
		}
	}
	for _, m := range all {
		m.voters(3)
		require.Equal(t, "1", m.get("new"))
		for i := range 30 {
			require.Equal(t, fmt.Sprint(i), m.get(fmt.Sprint("key", i)))
		}
	}
}

func (m *member) version(key string) uint64 {
	c, err := client.Dial(m.t.Context(), m.listen, client.Options{Timeout: 20 * time.Second})
	require.NoError(m.t, err)
	defer c.Close()
	v, err := c.Get(m.t.Context(), []byte(key))
	require.NoError(m.t, err)
	return v.Version
}

// history is what a node has of a key: versions, values and the expiry of the current one.
func (m *member) history(key string) (all []string) {
	c, err := client.Dial(m.t.Context(), m.listen, client.Options{Timeout: 20 * time.Second})
	require.NoError(m.t, err)
	defer c.Close()
	v, err := c.Get(m.t.Context(), []byte(key))
	require.NoError(m.t, err)
	all = append(all, fmt.Sprint("expires ", v.Expiry))
	revisions, err := c.History(m.t.Context(), []byte(key), 0)
	require.NoError(m.t, err)
	for _, r := range revisions {
		all = append(all, fmt.Sprint(r.Version, " ", string(r.Value.Data)))
	}
	return all
}

// TestFromOneServerToThreeAndBack: a backup of a server that is alone becomes a cluster of three, one of any of its
// nodes becomes one that is alone, or another cluster, with versions, history and expiries.
func TestFromOneServerToThreeAndBack(t *testing.T) {
	scratch := t.TempDir()
	alone := start(t, "--data", t.TempDir(), "--history", "2")
	server := &member{t: t, listen: alone.addr}
	c := alone.mustDial(client.Options{})
	for i := range 20 {
		_, err := c.Set(t.Context(), protocol.Set{Key: fmt.Append(nil, "key", i%5), Value: fmt.Append(nil, i),
			TTL: uint64(1+i%2) << 40})
		require.NoError(t, err)
	}
	want := server.history("key1")
	require.Len(t, want, 4)
	backup := func(from *member, name string) string {
		c, err := client.Dial(t.Context(), from.listen, client.Options{Timeout: 20 * time.Second})
		require.NoError(t, err)
		defer c.Close()
		f, err := os.Create(filepath.Join(scratch, name))
		require.NoError(t, err)
		_, err = c.Backup(t.Context(), f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		return f.Name()
	}
	file := backup(server, "alone")
	alone.stop(syscall.SIGTERM)

	for _, round := range []string{"first", "second"} {
		var all []*member
		var peers []string
		for range 3 {
			m := &member{t: t, dir: filepath.Join(t.TempDir(), round), listen: freeAddress(t), peer: freeAddress(t)}
			all, peers = append(all, m), append(peers, m.peer)
		}
		out, code := run(t, "restore", "--new-cluster", file, all[1].dir)
		require.Zero(t, code, out)
		require.Contains(t, out, "restored 15 entries")
		require.Contains(t, out, "of the new cluster")
		for _, m := range all {
			m.peers = strings.Join(peers, ",")
			m.start("--history", "2")
		}
		for _, m := range all {
			s := m.voters(3)
			for _, x := range s.Members {
				require.NotEmpty(t, x.Client)
				require.Contains(t, peers, x.Peer)
			}
			require.Equal(t, want, m.history("key1"), round)
		}
		leads := leader(t, all)
		for _, m := range all {
			if m != leads {
				file = backup(m, round)
			}
		}
		for _, m := range all {
			m.signal(syscall.SIGKILL)
		}
	}

	// Restored at two nodes it is two clusters, and they say so.
	one := &member{t: t, dir: filepath.Join(t.TempDir(), "one"), listen: freeAddress(t), peer: freeAddress(t)}
	two := &member{t: t, dir: filepath.Join(t.TempDir(), "two"), listen: freeAddress(t), peer: freeAddress(t)}
	one.peers = one.peer + "," + two.peer
	for _, m := range []*member{one, two} {
		out, code := run(t, "restore", "--new-cluster", file, m.dir)
		require.Zero(t, code, out)
	}
	one.start()
	leader(t, []*member{one})
	launch(t, exec.Command("kvd", "--listen", two.listen, "--data", two.dir, "--sync", "always", "--peer-listen",
		two.peer, "--peers", one.peers)).
		await("a peer belongs to another cluster than this node")
	one.voters(1)

	dir := filepath.Join(t.TempDir(), "alone again")
	out, code := run(t, "restore", file, dir)
	require.Zero(t, code, out)
	require.NotContains(t, out, "cluster")
	alone = start(t, "--data", dir, "--history", "2")
	require.Equal(t, want, (&member{t: t, listen: alone.addr}).history("key1"))
	alone.stop(syscall.SIGTERM)
}
