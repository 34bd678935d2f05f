//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/client"
)

// group is a control group that grants so much memory, and what it takes to run kvd in it.
type group struct {
	dir  string
	v2   bool
	kvd  string // a script that runs kvd in the group
	size int64
}

// newGroup makes a control group for the test. It takes root and a control group file system that can be written to.
func newGroup(t *testing.T, size int64) *group {
	g := &group{dir: "/sys/fs/cgroup/memory", size: size}
	limit := "memory.limit_in_bytes"
	if _, err := os.Stat(g.dir); err != nil {
		g.dir, g.v2, limit = "/sys/fs/cgroup", true, "memory.max"
		// May have been done already.
		_ = os.WriteFile(filepath.Join(g.dir, "cgroup.subtree_control"), []byte("+memory"), 0)
	}
	g.dir = filepath.Join(g.dir, fmt.Sprintf("kvd-test-%d-%d", os.Getpid(), rand.Uint32()))
	err := os.Mkdir(g.dir, 0o755)
	if err == nil {
		t.Cleanup(func() {
			require.Eventually(t, func() bool { return os.Remove(g.dir) == nil }, 10*time.Second, time.Millisecond,
				"a control group is left behind: %s", g.dir)
		})
		err = os.WriteFile(filepath.Join(g.dir, limit), []byte(strconv.FormatInt(size, 10)), 0)
	}
	require.NoError(t, err, "no control group can be made, so nothing shows that a full kvd is not killed: run this as root, or, if you must, leave it out with TEST_GROUPS=none")
	bin := t.TempDir()
	g.kvd = filepath.Join(bin, "kvd")
	script := fmt.Sprintf("#!/bin/sh\necho $$ > %s/cgroup.procs && exec %s \"$@\"\n", g.dir, plainBinary(t))
	require.NoError(t, os.WriteFile(g.kvd, []byte(script), 0o755))
	return g
}

// killed returns how many processes the system has killed in the group.
func (g *group) killed(t *testing.T) string {
	name := "memory.oom_control"
	if g.v2 {
		name = "memory.events"
	}
	text, err := os.ReadFile(filepath.Join(g.dir, name))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strings.TrimSpace(n)
		}
	}
	require.Fail(t, "no oom_kill", "%s", text)
	return ""
}

// peak returns the most memory that the group has had, and the process.
func (g *group) peak(t *testing.T, p *process) string {
	name := "memory.max_usage_in_bytes"
	if g.v2 {
		name = "memory.peak"
	}
	text, err := os.ReadFile(filepath.Join(g.dir, name))
	require.NoError(t, err)
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	require.NoError(t, err)
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	line, _, _ := strings.Cut(after, "\n")
	return fmt.Sprintf("group %d MiB at most, process %s, of %d MiB", n>>20, strings.TrimSpace(line), g.size>>20)
}

// alive checks that the server was not killed.
func (g *group) alive(t *testing.T, p *process, after string) {
	t.Helper()
	t.Log(after, g.peak(t, p))
	require.Equal(t, "0", g.killed(t), "killed by: %s", after)
	require.NoError(t, p.cmd.Process.Signal(syscall.Signal(0)), after)
	require.NoError(t, p.mustDial(client.Options{}).Ping(t.Context(), nil), after)
}

// fill writes values of so many bytes, in keys from this number on, until the store is full, and returns where it ended.
func fill(t *testing.T, c *client.Client, from, size, batch int) int {
	for n := from; ; n += batch {
		pairs := make([]protocol.Pair, batch)
		for i := range pairs {
			pairs[i] = protocol.Pair{Key: fmt.Appendf(nil, "key-%012d", n+i), Value: make([]byte, size)}
		}
		if _, err := c.MSet(t.Context(), pairs...); err != nil {
			require.ErrorIs(t, err, protocol.ErrOutOfMemory)
			return n
		}
	}
}

// TestGroup: in a control group, whatever is asked of a full server, it is not killed. With KV_SOAK=1 it does so in larger groups
// too, five times.
func TestGroup(t *testing.T) {
	if os.Getenv("TEST_GROUPS") == "none" {
		t.Log("LEFT OUT: nothing shows that a full kvd is not killed (TEST_GROUPS=none)")
		return
	}
	sizes, times := []int64{128 << 20}, 1
	if os.Getenv("KV_SOAK") != "" {
		sizes, times = []int64{64 << 20, 300 << 20, 1 << 30}, 5
	}
	for _, size := range sizes {
		for n := range times {
			t.Run(fmt.Sprintf("%dMiB/%d", size>>20, n), func(t *testing.T) {
				for _, kind := range []struct {
					name string
					args []string
				}{
					{"memory", nil},
					{"data", []string{"--data", filepath.Join(t.TempDir(), "data")}},
					{"more than there is", []string{"--max-memory", "1TiB"}},
				} {
					t.Run(kind.name, func(t *testing.T) { testGroup(t, newGroup(t, size), kind.args) })
				}
			})
		}
	}
}

func testGroup(t *testing.T, g *group, args []string) {
	p := startBinary(t, g.kvd, args...)
	c := p.mustDial(client.Options{})
	small := fill(t, c, 0, 32, 1000)
	require.Positive(t, small)
	g.alive(t, p, "small keys")
	require.Greater(t, stat(t, c, "data_memory_bytes"), uint64(g.size)/6, "it is not full")

	ask(t, c, p, small)
	g.alive(t, p, "huge requests")
	// What a client asks for and does not read, replaced meanwhile.
	large := min(1<<20, int(c.Hello().Limit)-100)
	scattered(t, c, small, 2)
	g.alive(t, p, "every second key deleted")
	end := fill(t, c, small, 1000, 10)
	g.alive(t, p, "keys of another size")
	_, _, err := del(t, c, small/2, small)
	require.NoError(t, err)
	deafClients(t, p, c, large)
	g.alive(t, p, "clients that do not read")
	slowBackup(t, p, c, small/2)
	g.alive(t, p, "a backup that is not read, while everything is overwritten")
	end = fill(t, c, end, large/2, 1)
	g.alive(t, p, "large values")
	ask(t, c, p, end)
	g.alive(t, p, "huge requests for large values")

	keys := stat(t, c, "keys")
	if slices.Contains(args, "--data") {
		p.stop(os.Interrupt)
		p = startBinary(t, g.kvd, args...)
		c = p.mustDial(client.Options{})
		require.Equal(t, keys, stat(t, c, "keys"))
		g.alive(t, p, "the start after it")
		ask(t, c, p, end)
		g.alive(t, p, "huge requests after the start")
	}
	_, _, err = del(t, c, 0, end)
	require.NoError(t, err)
	g.alive(t, p, "everything deleted")
	require.Positive(t, fill(t, c, 0, 32, 1000))
	g.alive(t, p, "filled again")
	p.stop(os.Interrupt)
	require.Equal(t, "0", g.killed(t))
}

// ask asks for as much as one can: 300 000 values at once, a backup, a snapshot. What there is no memory for is refused.
func ask(t *testing.T, c *client.Client, p *process, end int) {
	keys := make([][]byte, 300_000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key-%012d", rand.IntN(end))
	}
	for range 3 {
		_, err := c.MGet(t.Context(), keys...)
		refusedOr(t, err)
	}
	_, err := p.mustDial(client.Options{}).Backup(t.Context(), io.Discard)
	require.NoError(t, err)
	_, err = c.Snapshot(t.Context())
	if !errors.Is(err, protocol.ErrUnavailable) {
		require.NoError(t, err)
	}
}

// refusedOr allows an answer that there is no memory for.
func refusedOr(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, protocol.ErrOutOfMemory) && !errors.Is(err, protocol.ErrTooLarge) {
		require.NoError(t, err)
	}
}

// scattered deletes one of every so many keys.
func scattered(t *testing.T, c *client.Client, end, every int) {
	var keys [][]byte
	for i := 0; i < end; i += every {
		keys = append(keys, fmt.Appendf(nil, "key-%012d", i))
	}
	for some := range slices.Chunk(keys, 5000) {
		_, _, err := c.Del(t.Context(), some...)
		require.NoError(t, err)
	}
}

func del(t *testing.T, c *client.Client, from, end int) (existed int, version uint64, err error) {
	keys := make([][]byte, 0, 5000)
	for i := from; i < end && err == nil; i++ {
		if keys = append(keys, fmt.Appendf(nil, "key-%012d", i)); len(keys) == cap(keys) || i == end-1 {
			_, version, err = c.Del(t.Context(), keys...)
			keys = keys[:0]
		}
	}
	return existed, version, err
}

// deafClients has clients ask for a large value, again and again, and not read, while it is overwritten.
func deafClients(t *testing.T, p *process, c *client.Client, large int) {
	key := []byte("large")
	_, err := c.Set(t.Context(), protocol.Set{Key: key, Value: make([]byte, large)})
	require.NoError(t, err)
	many := slices.Repeat(protocol.Get{Key: key}.AppendTo(nil, 1), 200)
	clients := 15
	if os.Getenv("KV_SOAK") != "" {
		clients = 50
	}
	for range clients {
		nc, err := net.Dial("tcp", p.addr)
		require.NoError(t, err)
		defer nc.Close()
		require.NoError(t, nc.(*net.TCPConn).SetReadBuffer(4096))
		_, err = nc.Write(many)
		require.NoError(t, err)
		_, err = c.Set(t.Context(), protocol.Set{Key: key, Value: make([]byte, large)})
		refusedOr(t, err)
	}
}

// slowBackup begins a backup and does not go on with it, while the keys below end are overwritten again and again.
func slowBackup(t *testing.T, p *process, c *client.Client, end int) {
	nc, err := net.Dial("tcp", p.addr)
	require.NoError(t, err)
	defer nc.Close()
	_, err = nc.Write(protocol.Backup{}.AppendTo(nil, 1))
	require.NoError(t, err)
	_, err = io.ReadFull(nc, make([]byte, protocol.HeaderSize))
	require.NoError(t, err)
	for range 3 {
		for n := 1; n < end; n += 2000 { // every second is there: see scattered
			pairs := make([]protocol.Pair, 0, 1000)
			for i := n; i < min(n+2000, end); i += 2 {
				pairs = append(pairs, protocol.Pair{Key: fmt.Appendf(nil, "key-%012d", i), Value: make([]byte, 32)})
			}
			_, err := c.MSet(t.Context(), pairs...)
			refusedOr(t, err)
		}
	}
}
