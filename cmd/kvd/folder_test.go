package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/client"
)

// makeBackup makes a backup of a server that has the keys 0 to 99.
func makeBackup(t *testing.T) []byte {
	p := start(t)
	c := p.mustDial(client.Options{})
	for i := range 100 {
		_, err := c.Set(t.Context(), protocol.Set{Key: fmt.Append(nil, i), Value: []byte("value")})
		require.NoError(t, err)
	}
	var b bytes.Buffer
	_, err := c.Backup(t.Context(), &b)
	require.NoError(t, err)
	p.stop(os.Interrupt)
	return b.Bytes()
}

// TestRestoreFromPipes: a backup that can only be read once is restored, and one that is not whole leaves nothing.
func TestRestoreFromPipes(t *testing.T) {
	backup := makeBackup(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	link := filepath.Join(t.TempDir(), "link")
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, backup, 0o600))
	require.NoError(t, os.Symlink(file, link))
	restore := func(from string, data []byte) (dir, out string, code int) {
		dir = filepath.Join(t.TempDir(), "restored")
		cmd := exec.Command("kvd", "restore", from, dir)
		switch from {
		case "-":
			cmd.Stdin = bytes.NewReader(data)
		case fifo:
			go os.WriteFile(fifo, data, 0)
		}
		b, _ := cmd.CombinedOutput()
		return dir, string(b), cmd.ProcessState.ExitCode()
	}
	for _, from := range []string{"-", fifo, file, link} {
		dir, out, code := restore(from, backup)
		require.Zero(t, code, "%s: %s", from, out)
		require.Contains(t, out, "restored 100 entries")
		p := start(t, "--data", dir)
		c := p.mustDial(client.Options{})
		require.EqualValues(t, 100, stat(t, c, "keys"))
		p.stop(os.Interrupt)
	}
	for _, data := range [][]byte{nil, backup[:len(backup)/2], append([]byte("x"), backup...)} {
		dir, out, code := restore("-", data)
		require.Equal(t, exitDamaged, code, out)
		require.Contains(t, out, "kvd: restore stdin: not a whole backup")
		require.NoFileExists(t, dir)
	}
	_, out, code := restore(filepath.Join(t.TempDir(), "missing"), nil)
	require.Equal(t, exitFiles, code, out)
}

// TestForeignFolder: a folder that is no data folder is refused, and left as it is.
func TestForeignFolder(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "thesis.txt"), []byte("do not touch"), 0o600))
	for _, args := range [][]string{{"--listen", "127.0.0.1:0", "--data", dir}, {"check", dir}, {"repair", dir}} {
		out, code := run(t, args...)
		require.Equal(t, exitFiles, code, out)
		require.Contains(t, out, "it holds thesis.txt")
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 1)
	}
}

// TestLinksAreNotFollowed: a file of the data folder that is a link, or a FIFO, is refused by its name.
func TestLinksAreNotFollowed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := start(t, "--data", dir)
	c := p.mustDial(client.Options{})
	_, err := c.Set(t.Context(), protocol.Set{Key: []byte("k"), Value: []byte("v")})
	require.NoError(t, err)
	_, err = c.Snapshot(t.Context())
	require.NoError(t, err)
	p.stop(os.Interrupt)
	for _, name := range []string{"LOCK", "log-0000000000000002", "snapshot-0000000000000002"} {
		at := filepath.Join(dir, name)
		away := filepath.Join(t.TempDir(), "away")
		require.NoError(t, os.Rename(at, away))
		before, err := os.ReadFile(away)
		require.NoError(t, err)
		for what, why := range map[string]string{"link": "a symbolic link is not followed", "fifo": "not a regular file"} {
			if what == "link" {
				require.NoError(t, os.Symlink(away, at))
			} else {
				require.NoError(t, syscall.Mkfifo(at, 0o600))
			}
			for _, args := range [][]string{{"--listen", "127.0.0.1:0", "--data", dir}, {"check", dir}} {
				out, code := run(t, args...)
				require.Equal(t, exitFiles, code, out)
				require.Contains(t, out, at)
				require.Contains(t, out, why)
			}
			require.NoError(t, os.Remove(at))
		}
		after, err := os.ReadFile(away)
		require.NoError(t, err)
		require.Equal(t, before, after)
		require.NoError(t, os.Rename(away, at))
	}
	out, code := run(t, "check", dir)
	require.Zero(t, code, out)
}

// TestOrderlyEndIsProven: a log that was closed in order and has lost its tail since is refused.
func TestOrderlyEndIsProven(t *testing.T) {
	dir := t.TempDir()
	p := start(t, "--data", dir, "--sync", "always")
	c := p.mustDial(client.Options{})
	for i := range 300 {
		_, err := c.Set(t.Context(), protocol.Set{Key: fmt.Append(nil, i), Value: []byte("value")})
		require.NoError(t, err)
	}
	p.stop(os.Interrupt)
	name := filepath.Join(dir, "log-0000000000000001")
	st, err := os.Stat(name)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(name, st.Size()*4/5))
	out, code := run(t, "--listen", "127.0.0.1:0", "--data", dir)
	require.Equal(t, exitDamaged, code, out)
	require.Contains(t, out, "kvd repair "+dir)
	out, code = run(t, "repair", dir)
	require.Zero(t, code, out)
	p = start(t, "--data", dir)
	p.stop(os.Interrupt)
}
