package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"kv/protocol"
	"kv/protocol/client"
)

// TestFileCantGrow: the system refuses to let a file grow, as a disk that is full does. Writes are refused, reads and
// the pages go on; when it may grow, so do writes; and after a kill all that was acknowledged is there.
func TestFileCantGrow(t *testing.T) {
	dir := t.TempDir()
	kvd, err := exec.LookPath("kvd")
	require.NoError(t, err)
	limited := filepath.Join(t.TempDir(), "kvd")
	require.NoError(t, os.WriteFile(limited, fmt.Appendf(nil, "#!/bin/sh\nulimit -S -f 200\nexec %s \"$@\"\n", kvd), 0o755))
	p := startBinary(t, limited, "--data", dir, "--sync", "always", "--http", "127.0.0.1:0")
	c := p.mustDial(client.Options{})
	acked := 0
	set := func() error {
		_, err := c.Set(t.Context(), protocol.Set{Key: []byte(fmt.Sprint(acked)), Value: make([]byte, 10_000)})
		if err == nil {
			acked++
		}
		return err
	}
	for err = set(); err == nil; err = set() {
	}
	require.ErrorIs(t, err, protocol.ErrUnavailable)
	require.ErrorContains(t, err, "file too large")
	require.Greater(t, acked, 5)
	p.await("writes are refused until there is room on the disk")
	_, err = c.Set(t.Context(), protocol.Set{Key: []byte("k")})
	require.ErrorIs(t, err, protocol.ErrUnavailable)
	for i := range acked {
		_, err = c.Get(t.Context(), []byte(fmt.Sprint(i)))
		require.NoError(t, err)
	}
	status, body := p.get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status, body)
	require.EqualValues(t, 1, stat(t, c, "read_only"))
	require.EqualValues(t, 2, stat(t, c, "refusals_unavailable"))

	var hard unix.Rlimit
	require.NoError(t, unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, nil, &hard))
	limit := func(bytes uint64) {
		require.NoError(t, unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: hard.Max}, nil))
	}
	limit(20_000) // a snapshot has less in it than a log, and might fit
	_, err = c.Snapshot(t.Context())
	require.ErrorIs(t, err, protocol.ErrUnavailable)
	require.EqualValues(t, 1, stat(t, c, "snapshot_failing"))
	require.Contains(t, persistence(t, p.addr), "rdb_last_bgsave_status:err\r\n")

	limit(hard.Max)
	p.await("there is room on the disk again")
	require.NoError(t, set())
	require.Zero(t, stat(t, c, "read_only"))
	_, err = c.Snapshot(t.Context())
	require.NoError(t, err)
	require.Zero(t, stat(t, c, "snapshot_failing"))
	require.Contains(t, persistence(t, p.addr), "rdb_last_bgsave_status:ok\r\n")
	status, body = p.get("/readyz")
	require.Equal(t, http.StatusOK, status, body)
	p.cmd.Process.Kill()
	p.cmd.Wait()

	p = start(t, "--data", dir)
	c = p.mustDial(client.Options{})
	for i := range acked {
		_, err := c.Get(t.Context(), []byte(fmt.Sprint(i)))
		require.NoError(t, err, "key %d of %d", i, acked)
	}
	p.stop(os.Interrupt)
}

// persistence is what the server tells clients of Redis of its disk.
func persistence(t *testing.T, addr string) string {
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "INFO persistence\r\nQUIT\r\n")
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	return string(answer)
}
