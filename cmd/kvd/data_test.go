package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/client"
	"kv/store/vfs"
	"kv/store/wal/frame"
)

// gate is a file system whose files can't be read until it opens.
type gate struct {
	vfs.FS
	waiting chan struct{} // gets a value for each read that waits
	open    chan struct{} // closed when it opens
}

func (g *gate) Open(name string) (vfs.File, error) {
	f, err := g.FS.Open(name)
	return gatedFile{f, g}, err
}

type gatedFile struct {
	vfs.File
	gate *gate
}

func (f gatedFile) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 && len(p) < frame.HeaderSize { // which kind of folder it is: that is looked at before there are pages
		return f.File.ReadAt(p, off)
	}
	select {
	case f.gate.waiting <- struct{}{}:
	default:
	}
	<-f.gate.open
	return f.File.ReadAt(p, off)
}

// lines collects what is logged.
type lines struct {
	mu  sync.Mutex // guards all
	all bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

// after waits for what follows prefix in a line, up to the next quote.
func (l *lines) after(t *testing.T, prefix string) (rest string) {
	require.Eventually(t, func() (found bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		_, rest, found = strings.Cut(l.all.String(), prefix)
		rest, _, _ = strings.Cut(rest, `"`)
		return found
	}, 20*time.Second, time.Millisecond, "no line with %q", prefix)
	return rest
}

// filledFolder is a data folder with so many values of 1000 bytes.
func filledFolder(t *testing.T, keys int) string {
	dir := t.TempDir()
	p := start(t, "--data", dir)
	c := p.mustDial(client.Options{})
	for i := range keys {
		_, err := c.Set(t.Context(), protocol.Set{Key: fmt.Append(nil, i), Value: make([]byte, 1000)})
		require.NoError(t, err)
	}
	p.stop(os.Interrupt)
	return dir
}

// TestWhileDataAreLoaded: the pages are there at once, /readyz and a client are told how far it is, and then all is served on
// the same addresses.
func TestWhileDataAreLoaded(t *testing.T) {
	addr, web := freeAddress(t), freeAddress(t)
	g := &gate{vfs.OS, make(chan struct{}, 1), make(chan struct{})}
	log := new(lines)
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		o := options{listen: addresses{list: []string{addr}}, http: place(web), data: place(filledFolder(t, 500)),
			sync: "always", fs: g,
			maxMemory: 64 << 20, maxFrame: 1 << 20, maxConnections: 10, frameTimeout: 1e9, writeTimeout: 1e9, drain: 20e9, resp: true}
		served <- serve(ctx, o, newLineQueue(log), slog.New(slog.NewJSONHandler(log, nil)))
	}()
	<-g.waiting
	p := &process{t: t, addr: addr, http: "http://" + log.after(t, "metrics on http://")}
	p.http = strings.TrimSuffix(p.http, "/metrics")
	status, body := p.get("/livez")
	require.Equal(t, http.StatusOK, status, body)
	status, body = p.get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Regexp(t, `^loading \d+ of 5\d{5} bytes\n$`, body)
	status, _ = p.get("/metrics")
	require.Equal(t, http.StatusOK, status)
	for range 3 {
		_, err := p.dial(client.Options{})
		require.ErrorIs(t, err, protocol.ErrUnavailable)
		require.ErrorContains(t, err, "loading ")
	}
	redis, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	_, err = io.WriteString(redis, "*1\r\n$4\r\nPING\r\n")
	require.NoError(t, err)
	told, err := io.ReadAll(redis)
	require.NoError(t, err)
	require.Regexp(t, `^-LOADING loading \d+ of 5\d{5} bytes\r\n$`, string(told))
	require.NoError(t, redis.Close())
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP)) // it would end a process that does not expect it
	log.after(t, "SIGHUP: users and certificates were read again")

	close(g.open)
	log.after(t, "listening on ")
	v, err := p.mustDial(client.Options{}).Get(t.Context(), []byte("499"))
	require.NoError(t, err)
	require.Len(t, v.Data, 1000)
	status, body = p.get("/readyz")
	require.Equal(t, http.StatusOK, status, body)
	end()
	require.NoError(t, <-served)
}

// TestEndWhileDataAreLoaded: a signal is not kept waiting, and the folder is as it was.
func TestEndWhileDataAreLoaded(t *testing.T) {
	dir := filledFolder(t, 10)
	g := &gate{vfs.OS, make(chan struct{}, 1), make(chan struct{})}
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		o := options{listen: addresses{list: []string{"127.0.0.1:0"}}, data: place(dir), sync: "always", fs: g,
			maxMemory: 64 << 20}
		served <- serve(ctx, o, newLineQueue(io.Discard), slog.New(slog.DiscardHandler))
	}()
	<-g.waiting
	end()
	require.NoError(t, <-served)
}

// stuck is a file system whose files are never synced once it is stuck.
type stuck struct {
	vfs.FS
	now chan struct{} // closed when it is
}

func (s *stuck) Create(name string) (vfs.File, error) {
	f, err := s.FS.Create(name)
	return stuckFile{f, s}, err
}

type stuckFile struct {
	vfs.File
	fs *stuck
}

func (f stuckFile) Sync() error {
	select {
	case <-f.fs.now:
		select {} // until the process ends
	default:
		return f.File.Sync()
	}
}

// TestEndOnADiskThatDoesNotAnswer: it comes all the same, and says what it means.
func TestEndOnADiskThatDoesNotAnswer(t *testing.T) {
	fs := &stuck{vfs.OS, make(chan struct{})}
	log := new(lines)
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		o := options{listen: addresses{list: []string{"127.0.0.1:0"}}, data: place(t.TempDir()), sync: "never", fs: fs, maxMemory: 64 << 20,
			maxFrame: 1 << 20, maxConnections: 10, frameTimeout: 1e9, writeTimeout: 1e9, drain: 50e6}
		served <- serve(ctx, o, newLineQueue(log), slog.New(slog.NewJSONHandler(log, nil)))
	}()
	p := &process{t: t, addr: log.after(t, "listening on ")}
	_, err := p.mustDial(client.Options{}).Set(t.Context(), protocol.Set{Key: []byte("a")})
	require.NoError(t, err)
	close(fs.now)
	end()
	err = <-served
	require.ErrorContains(t, err, "not all writes are on disk: the disk did not answer for 50ms")
	require.Equal(t, exitEnded, exitCode(err))
}

// TestFiguresOnADiskThatDoesNotAnswer: they are given, over the wire and as metrics, while writes and a snapshot wait, and
// while the end does.
func TestFiguresOnADiskThatDoesNotAnswer(t *testing.T) {
	fs := &stuck{vfs.OS, make(chan struct{})}
	log := new(lines)
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		o := options{listen: addresses{list: []string{"127.0.0.1:0"}}, http: "127.0.0.1:0", data: place(t.TempDir()),
			sync: "always", fs: fs, maxMemory: 64 << 20,
			maxFrame: 1 << 20, maxConnections: 10, frameTimeout: 10e9, writeTimeout: 10e9, drain: 2e9}
		served <- serve(ctx, o, newLineQueue(log), slog.New(slog.NewJSONHandler(log, nil)))
	}()
	p := &process{t: t, http: "http://" + strings.TrimSuffix(log.after(t, "metrics on http://"), "/metrics")}
	p.addr = log.after(t, "listening on ")
	writer, snapshots, reader := p.mustDial(client.Options{}), p.mustDial(client.Options{}), p.mustDial(client.Options{})
	_, err := writer.Set(t.Context(), protocol.Set{Key: []byte("a")})
	require.NoError(t, err)
	close(fs.now)
	go writer.Set(t.Context(), protocol.Set{Key: []byte("b")})
	go snapshots.Snapshot(t.Context())
	require.Eventually(t, func() bool { return stat(t, reader, "keys") == 2 }, 20*time.Second, time.Millisecond)
	figures := func() {
		status, body := p.get("/metrics")
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, body, "kv_keys 2\n")
	}
	figures()
	end()
	log.after(t, "shutting down")
	figures()
	require.Error(t, <-served)
}

// TestPortBeforeData: that a port is taken is found before the data are looked at.
func TestPortBeforeData(t *testing.T) {
	p := start(t)
	for _, args := range [][]string{{"--listen", p.addr}, {"--listen", "127.0.0.1:0", "--http", p.addr}} {
		out, code := run(t, append(args, "--data", "/dev/null/nonsense")...)
		require.Equal(t, exitListen, code, out)
		require.Contains(t, out, "address already in use: another process listens there")
	}
	p.stop(os.Interrupt)
}
