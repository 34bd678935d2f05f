package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/client"
)

// TestKill kills the server again and again while it is written to and takes snapshots: no acknowledged write is lost, and
// each transaction is there whole or not at all. With KV_SOAK=1 it does so 300 times.
func TestKill(t *testing.T) {
	kills := 4
	if os.Getenv("KV_SOAK") != "" {
		kills = 300
	}
	const writers = 8
	dir := t.TempDir()
	var acked, sent [writers]atomic.Int64
	key := func(i int, half string) []byte { return []byte(fmt.Sprint(i, half)) }
	verify := func(p *process) {
		c := p.mustDial(client.Options{})
		for i := range writers {
			v, err := c.MGet(t.Context(), key(i, "a"), key(i, "b"))
			require.NoError(t, err)
			require.Equal(t, string(v[0].Data), string(v[1].Data), "a transaction in part")
			n := int64(0)
			if len(v[0].Data) > 0 {
				n, err = strconv.ParseInt(string(bytes.TrimLeft(v[0].Data, "x")), 10, 64)
				require.NoError(t, err)
			}
			require.GreaterOrEqual(t, n, acked[i].Load(), "writer %d: an acknowledged write is lost", i)
			require.LessOrEqual(t, n, sent[i].Load())
			sent[i].Store(n)
			acked[i].Store(n)
		}
	}
	for round := range kills {
		p := start(t, "--data", dir, "--sync", "always", "--history", "2")
		verify(p)
		var wg sync.WaitGroup
		var left atomic.Int64 // acknowledgements until the kill
		left.Store(1 + rand.Int64N(1500))
		var conns []*client.Client
		for range writers + 1 {
			conns = append(conns, p.mustDial(client.Options{}))
		}
		for i := range writers {
			wg.Go(func() {
				for {
					n := sent[i].Add(1)
					value := fmt.Appendf(bytes.Repeat([]byte("x"), rand.IntN(3000)), "%d", n)
					_, err := conns[i].MSet(t.Context(), protocol.Pair{Key: key(i, "a"), Value: value},
						protocol.Pair{Key: key(i, "b"), Value: value})
					if err != nil {
						return
					}
					acked[i].Store(n)
					if left.Add(-1) == 0 {
						p.cmd.Process.Kill()
					}
				}
			})
		}
		if round%2 == 1 {
			wg.Go(func() {
				for {
					if _, err := conns[writers].Snapshot(t.Context()); err != nil {
						return
					}
				}
			})
		}
		wg.Wait()
		p.cmd.Wait()
	}
	p := start(t, "--data", dir, "--sync", "always")
	verify(p)
	p.stop(os.Interrupt)
}

// run runs kvd and returns what it prints, and its exit code.
func run(t *testing.T, args ...string) (output string, code int) { return runBinary(t, "kvd", args...) }

// runBinary is run with another binary, or a script that runs kvd.
func runBinary(t *testing.T, name string, args ...string) (output string, code int) {
	out, err := exec.Command(name, args...).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(out), exit.ExitCode()
	}
	require.NoError(t, err)
	return string(out), 0
}

// TestDamage: a damaged folder is refused with the command that repairs it, and that does.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	p := start(t, "--data", dir)
	c := p.mustDial(client.Options{})
	for _, k := range []string{"first", "second", "third"} {
		_, err := c.Set(t.Context(), protocol.Set{Key: []byte(k), Value: []byte(k)})
		require.NoError(t, err)
	}
	out, code := run(t, "check", dir)
	require.Equal(t, exitInUse, code)
	require.Contains(t, out, "in use by another process")
	p.stop(os.Interrupt)
	out, code = run(t, "check", dir)
	require.Zero(t, code, out)
	require.Contains(t, out, "3 records")
	require.Contains(t, out, "all of it can be read")

	name := filepath.Join(dir, "log-0000000000000001")
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	at := bytes.Index(data, []byte("second"))
	data[at] ^= 1
	require.NoError(t, os.WriteFile(name, data, 0o600))

	out, code = run(t, "--listen", "127.0.0.1:0", "--data", dir)
	require.Equal(t, exitDamaged, code)
	require.Contains(t, out, "kvd repair "+dir)
	out, code = run(t, "check", dir)
	require.Equal(t, exitDamaged, code)
	require.Contains(t, out, "damaged")
	out, code = run(t, "repair", dir)
	require.Zero(t, code, out)
	require.Contains(t, out, "log-0000000000000001.damaged-1")
	kept, err := os.ReadFile(name + ".damaged-1")
	require.NoError(t, err)
	require.Equal(t, data, kept)

	p = start(t, "--data", dir)
	c = p.mustDial(client.Options{})
	for k, want := range map[string]error{"first": nil, "second": protocol.ErrNotFound, "third": nil} {
		_, err := c.Get(t.Context(), []byte(k))
		require.ErrorIs(t, err, want, k)
	}
	p.stop(os.Interrupt)
}

// TestBackupAndRestore: a backup that is taken while transactions go on has each whole, of a server that keeps its data as of
// one that does not.
func TestBackupAndRestore(t *testing.T) {
	t.Run("data folder", func(t *testing.T) { backupAndRestore(t, "--data", t.TempDir()) })
	t.Run("memory", func(t *testing.T) { backupAndRestore(t) })
}

func backupAndRestore(t *testing.T, args ...string) {
	p := start(t, args...)
	c := p.mustDial(client.Options{})
	large := bytes.Repeat([]byte("v"), 10_000)
	for i := range 300 {
		_, err := c.Set(t.Context(), protocol.Set{Key: fmt.Append(nil, i), Value: large})
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	writer := p.mustDial(client.Options{})
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			n := fmt.Append(nil, i)
			writer.MSet(t.Context(), protocol.Pair{Key: []byte("a"), Value: n}, protocol.Pair{Key: []byte("b"), Value: n})
		}
	})
	file := filepath.Join(t.TempDir(), "kv.backup")
	f, err := os.Create(file)
	require.NoError(t, err)
	size, err := c.Backup(t.Context(), f)
	require.NoError(t, err)
	require.Greater(t, size, int64(3_000_000))
	require.NoError(t, f.Close())
	cancel()
	wg.Wait()
	p.stop(os.Interrupt)

	dir := filepath.Join(t.TempDir(), "restored")
	out, code := run(t, "restore", file, dir)
	require.Zero(t, code, out)
	require.Contains(t, out, "restored ")
	out, code = run(t, "restore", file, dir)
	require.Equal(t, exitFiles, code)
	require.Contains(t, out, "holds a store already")
	p = start(t, "--data", dir)
	c = p.mustDial(client.Options{})
	v, err := c.MGet(t.Context(), []byte("a"), []byte("b"), []byte("299"))
	require.NoError(t, err)
	require.Equal(t, string(v[0].Data), string(v[1].Data))
	require.Equal(t, large, v[2].Data)
	p.stop(os.Interrupt)
}
