package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/client"
)

// TestRollingUpgrade: three nodes of an older kvd are upgraded one by one, the second back and forth once more, under a
// client that knows all of them and sees no error; the cluster goes over to the newer format with the last, and an
// older kvd is refused then, in words.
func TestRollingUpgrade(t *testing.T) {
	older := filepath.Join(t.TempDir(), "kvd-format1")
	out, err := exec.Command("go", "build", "-tags", "kvformat1", "-o", older, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	all := startClusterOf(t, 3, func(m *member) { m.command, m.args = []string{older}, []string{"--history", "3"} })
	pool := client.NewPool(all[0].listen+","+all[1].listen+","+all[2].listen, client.PoolOptions{})
	defer pool.Close()
	n := 0
	write := func() {
		for range 10 {
			n++
			_, err := pool.Set(t.Context(), protocol.Set{Key: []byte("a"), Value: fmt.Append(nil, n)})
			require.NoError(t, err)
			v, err := pool.Get(t.Context(), []byte("a"))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(n), string(v.Data))
		}
	}
	format := func(m *member) (is uint64) {
		c, err := m.dial(20 * time.Second)
		require.NoError(t, err)
		defer c.Close()
		return stat(t, c, "cluster_format")
	}
	begin := func(m *member, command ...string) {
		m.signal(syscall.SIGTERM)
		write()
		m.command = command
		m.start()
		leader(t, all)
		write()
	}
	write()
	begin(all[0])
	begin(all[1])
	begin(all[1], older)
	begin(all[1])
	for _, m := range all {
		require.EqualValues(t, 1, format(m), "one is old still")
	}
	begin(all[2])
	for _, m := range all {
		require.Eventually(t, func() bool { return format(m) == 2 }, 60*time.Second, 20*time.Millisecond)
	}
	write()

	m := all[0]
	m.signal(syscall.SIGTERM)
	out, err = exec.Command(older, "--listen", m.listen, "--data", m.dir, "--sync", "always", "--peer-listen", m.peer,
		"--peers", m.peers, "--history", "3").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out),
		"the cluster's format is 2, and a kvd that reads 1 to 1 can't be of it: a newer kvd is needed")
	m.start()
	leader(t, all)
	write()
	for _, m := range all {
		require.Equal(t, fmt.Sprint(n), m.get("a"))
	}
}
