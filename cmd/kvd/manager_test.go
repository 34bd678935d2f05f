package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/protocol/client"
	"kv/store/vfs"
)

// systemd is the socket of a service manager.
type systemd struct {
	t    *testing.T
	conn *net.UnixConn
}

// newSystemd plays systemd for every kvd that is started from now on.
func newSystemd(t *testing.T) systemd {
	dir, err := os.MkdirTemp("", "kv") // t.TempDir's can be longer than the name of a socket may be
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return systemd{t, conn}
}

// next is the next message, by name.
func (s systemd) next() map[string]string {
	s.t.Helper()
	require.NoError(s.t, s.conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	b := make([]byte, 4096)
	n, err := s.conn.Read(b)
	require.NoError(s.t, err)
	said := make(map[string]string)
	for line := range strings.Lines(string(b[:n])) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		require.True(s.t, ok, "%q", b[:n])
		said[name] = value
	}
	return said
}

// until returns the first message that says name, and those before it.
func (s systemd) until(name string) (said map[string]string, before []map[string]string) {
	s.t.Helper()
	for {
		said := s.next()
		if _, ok := said[name]; ok {
			return said, before
		}
		before = append(before, said)
	}
}

// TestManagerIsTold: a unit of Type=notify is ready when it serves, says so again when it has read its files again, well or
// not, and that it stops, with the time that it may take.
func TestManagerIsTold(t *testing.T) {
	s := newSystemd(t)
	users := filepath.Join(t.TempDir(), "users")
	writeUsers(t, users, "anna", "rw", "one")
	p := start(t, "--auth-file", users, "--data", filepath.Join(t.TempDir(), "data"), "--drain", "45s")
	ready, before := s.until("READY")
	require.Equal(t, map[string]string{"READY": "1", "STATUS": "listening on " + p.addr}, ready)
	require.NotEmpty(t, before)
	require.Regexp(t, `^loading \d+ of \d+ bytes$`, before[0]["STATUS"])

	var now int64
	for _, outcome := range []struct{ text, status string }{
		{"anna:rw:broken\n", "what was in force stays: --auth-file " + users},
		{"", "what was in force stays"},
	} {
		require.NoError(t, os.WriteFile(users, []byte(outcome.text), 0o600))
		p.hangUp("what was in force stays")
		reloading := s.next()
		require.Equal(t, "1", reloading["RELOADING"])
		at, err := strconv.ParseInt(reloading["MONOTONIC_USEC"], 10, 64)
		require.NoError(t, err)
		require.Greater(t, at, now)
		now = at
		ready := s.next()
		require.Equal(t, "1", ready["READY"])
		require.Contains(t, ready["STATUS"], outcome.status)
	}
	writeUsers(t, users, "anna", "rw", "two")
	p.hangUp("users and certificates were read again")
	require.Equal(t, "1", s.next()["RELOADING"])
	require.Equal(t, map[string]string{"READY": "1", "STATUS": "users and certificates were read again"}, s.next())
	p.mustDial(client.Options{User: "anna", Secret: "two"})

	p.stop(syscall.SIGTERM)
	require.Equal(t, map[string]string{"STOPPING": "1", "STATUS": "shutting down"}, s.next())
	require.Equal(t, map[string]string{"EXTEND_TIMEOUT_USEC": "120000000"}, s.next()) // 45 seconds twice, and 30
}

// TestManagerWhileDataAreLoaded: the manager hears how far it is and is asked for time, and nothing that would make it take
// the server for one that serves: not when SIGHUP comes, nor when the end comes first.
func TestManagerWhileDataAreLoaded(t *testing.T) {
	folder := filledFolder(t, 500)
	s := newSystemd(t)
	g := &gate{vfs.OS, make(chan struct{}, 1), make(chan struct{})}
	log := new(lines)
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		o := options{listen: addresses{list: []string{"127.0.0.1:0"}}, data: place(folder), sync: "always", fs: g,
			maxMemory: 64 << 20, maxFrame: 1 << 20, maxConnections: 10, frameTimeout: 1e9, writeTimeout: 1e9, drain: 20e9}
		served <- serve(ctx, o, newLineQueue(log), slog.New(slog.NewJSONHandler(log, nil)))
	}()
	more, before := s.until("EXTEND_TIMEOUT_USEC")
	require.Equal(t, "30000000", more["EXTEND_TIMEOUT_USEC"])
	require.Regexp(t, `^loading \d+ of \d+ bytes$`, before[0]["STATUS"])
	<-g.waiting
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	log.after(t, "SIGHUP: users and certificates were read again")
	end()
	require.NoError(t, <-served)
	stopping, before := s.until("STOPPING")
	require.Equal(t, "shutting down", stopping["STATUS"])
	for _, said := range before {
		require.NotContains(t, said, "READY")
		require.NotContains(t, said, "RELOADING")
	}
}

// TestManagerThatIsGone: nobody listens at the socket; the server runs, and says so once.
func TestManagerThatIsGone(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	p := start(t)
	p.mustDial(client.Options{})
	p.stop(syscall.SIGTERM)
	said := 0
	for _, line := range p.seen {
		if line == "the service manager can't be told how kvd is" {
			said++
		}
	}
	require.Equal(t, 1, said, "%q", p.seen)
}
