package main

import (
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/client"
)

// socketFolder makes a folder whose path is short enough for a socket.
func socketFolder(t *testing.T) string {
	dir, err := os.MkdirTemp("", "kv")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestUnixSocket: it is served beside TCP, with the mode that was asked for, and gone when the server is.
func TestUnixSocket(t *testing.T) {
	dir := socketFolder(t)
	path, web := filepath.Join(dir, "kv.sock"), filepath.Join(dir, "http.sock")
	p := start(t, "--listen", "unix:"+path, "--unix-mode", "0620")
	p.await("listening on unix:" + path)
	st, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, fs.ModeSocket|0o620, st.Mode())

	by := func(addr string) *client.Client {
		c, err := client.Dial(t.Context(), addr, client.Options{})
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	version, err := by("unix:"+path).Set(t.Context(), protocol.Set{Key: []byte("k"), Value: []byte("v")})
	require.NoError(t, err)
	v, err := by(p.addr).Get(t.Context(), []byte("k"))
	require.NoError(t, err)
	require.Equal(t, version, v.Version)
	p.stop(os.Interrupt)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)

	// Alone, by a variable, with its default mode, and the pages on another.
	t.Setenv("KVD_LISTEN", "unix:"+path)
	p = launch(t, exec.Command("kvd", "--http", "unix:"+web))
	require.Equal(t, "unix:"+path, p.addr)
	for _, name := range []string{path, web} {
		st, err := os.Lstat(name)
		require.NoError(t, err)
		require.Equal(t, fs.ModeSocket|0o600, st.Mode())
	}
	require.NoError(t, by(p.addr).Ping(t.Context(), nil))
	out, code := run(t, "health", "--http", "unix:"+web)
	require.Zero(t, code, out)
	p.stop(os.Interrupt)
	_, code = run(t, "health", "--http", "unix:"+web)
	require.Equal(t, exitDamaged, code)
}

// TestUnixSocketThatIsTaken: a socket is taken over only from a process that is gone, and nothing else that is there is touched.
func TestUnixSocketThatIsTaken(t *testing.T) {
	dir := socketFolder(t)
	path := filepath.Join(dir, "kv.sock")
	refused := func(says string) {
		t.Helper()
		out, code := run(t, "--listen", "unix:"+path)
		require.Equal(t, exitListen, code, out)
		require.Contains(t, out, says)
	}
	first := launch(t, exec.Command("kvd", "--listen", "unix:"+path))
	refused("another server listens on the socket")
	require.NoError(t, os.Remove(path)) // somebody tidies up: the lock is there all the same
	refused("another server listens on the socket")
	require.NoError(t, first.cmd.Process.Kill())
	first.cmd.Wait()

	second := launch(t, exec.Command("kvd", "--listen", "unix:"+path))
	require.NoError(t, second.cmd.Process.Kill()) // it leaves its socket
	second.cmd.Wait()
	require.FileExists(t, path+".lock")
	third := launch(t, exec.Command("kvd", "--listen", "unix:"+path))
	third.stop(os.Interrupt)

	l, err := net.Listen("unix", path) // of another program, which knows no lock
	require.NoError(t, err)
	refused("another process listens on it")
	nc, err := net.Dial("unix", path)
	require.NoError(t, err, "it is left as it is")
	nc.Close()
	require.NoError(t, l.Close())

	require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
	refused("is no socket: it is left as it is")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "mine", string(b))
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Symlink("/nowhere", path))
	refused("is no socket: it is left as it is")
	require.NoError(t, os.Remove(path))

	path = filepath.Join(dir, "missing", "kv.sock")
	refused("no such file or directory")

	// One address that can't be taken, and none is.
	path = filepath.Join(dir, "kv.sock")
	out, code := run(t, "--listen", "unix:"+path, "--listen", "192.0.2.1:7070", "--insecure")
	require.Equal(t, exitListen, code, out)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestTLSIsForTCP: with a certificate, TLS is spoken over TCP, and none over the socket; its users have to log in on both.
func TestTLSIsForTCP(t *testing.T) {
	dir := t.TempDir()
	cert, key, users := filepath.Join(dir, "crt"), filepath.Join(dir, "key"), filepath.Join(dir, "users")
	trusting := writeCertificate(t, cert, key)
	out, code := run(t, "token", "ann", "--auth-file", users)
	require.Zero(t, code, out)
	path := filepath.Join(socketFolder(t), "kv.sock")
	p := start(t, "--listen", "unix:"+path, "--tls-cert", cert, "--tls-key", key, "--auth-file", users)
	for addr, o := range map[string]client.Options{p.addr: {TLS: trusting}, "unix:" + path: {}} {
		_, err := client.Dial(t.Context(), addr, o)
		require.ErrorIs(t, err, protocol.ErrUnauthenticated, addr)
	}
	p.stop(os.Interrupt)
}
