// Package nettest drives a real kv server with raw frames, from Go tests: of this project, and of anyone who writes a
// client, a proxy or a server of the protocol.
//
//	func TestGetAbsent(t *testing.T) {
//		srv := nettest.Start(t, nettest.Options{})
//		c := srv.Dial(t)
//		c.Send(protocol.Get{Key: []byte("a")}.AppendTo(nil, 7))
//		c.Expect(protocol.OpGet, protocol.StatusNotFound, 7)
//	}
//
// Start serves a new store on a free loopback port. When the test ends, everything is shut down, and the test fails if a
// connection or a goroutine is left behind or the store's structure is damaged. Because goroutines are counted, tests that
// use this package do not run in parallel with others of their process.
//
// What goes wrong on the way, a frame that is not the expected one or does not come for 10 seconds, fails the test at once.
// [Each] runs one test body over every transport.
package nettest

import (
	"bufio"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kv/netserver"
	"kv/store"
)

// Timeout is how long a test waits for anything that should happen.
const Timeout = 10 * time.Second

// Options say what server to start. The zero value is a server with an empty store in memory and no limits of its own.
type Options struct {
	Store  store.Options
	Config netserver.Config // its Store, TLS and Logger are filled in
	TLS    bool             // serve TLS, with a certificate made for the test
	// Wrap, when set, puts what it returns in the place of each accepted connection.
	Wrap func(net.Conn) net.Conn
	Unix bool // serve on a Unix socket, not TCP
}

// Server is a running server.
type Server struct {
	*netserver.Server
	Network string // tcp or unix
	Addr    string // the address that it listens on, or the path of the socket
	Store   *store.Store
	Log     *Log // what it logged

	t       testing.TB
	client  *tls.Config // nil: no TLS
	wrapped bool        // by Options.Wrap
}

// Start starts a server that runs until the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	before := goleak.IgnoreCurrent()
	st, err := store.Open(o.Store)
	require.NoError(t, err)

	s := &Server{Store: st, Log: &Log{}, t: t, Network: "tcp"}
	o.Config.Store = st
	o.Config.Logger = slog.New(slog.NewTextHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if o.TLS {
		o.Config.TLS, s.client = Certificate(t)
	}
	s.Server, err = netserver.New(o.Config)
	require.NoError(t, err)
	at := "127.0.0.1:0"
	if o.Unix {
		s.Network, at = "unix", socketPath(t)
	}
	l, err := net.Listen(s.Network, at)
	require.NoError(t, err)
	s.Addr = l.Addr().String()
	if s.wrapped = o.Wrap != nil; s.wrapped {
		l = wrapping{l, o.Wrap}
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()

	t.Cleanup(func() {
		s.Shutdown()
		require.ErrorIs(t, <-served, netserver.ErrServerClosed)
		require.Zero(t, s.Stat("request_memory_bytes"), "memory that requests claimed and did not give back")
		require.Zero(t, s.Stat("output_memory_bytes"), "memory that answers held and did not let go")
		require.NoError(t, st.Check(), "the store's structure")
		require.NoError(t, st.Close())
		// Connections of this server are gone, or Shutdown would have failed. Those of another server of the same test may
		// have moved to a goroutine that was not there before.
		goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("kv/netserver.(*conn).live"))
	})
	return s
}

// wrapping is a listener whose connections are wrapped.
type wrapping struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (l wrapping) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.wrap(nc), nil
}

// Each runs one test body over every transport: plain TCP, TLS and a Unix socket.
func Each(t *testing.T, o Options, test func(t *testing.T, s *Server)) {
	for _, name := range []string{"plain", "TLS", "Unix"} {
		o.TLS, o.Unix = name == "TLS", name == "Unix"
		t.Run(name, func(t *testing.T) { test(t, Start(t, o)) })
	}
}

// socketPath returns a path for a Unix socket, short enough, that is gone when the test ends.
func socketPath(t testing.TB) string {
	dir, err := os.MkdirTemp("", "kv")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// Shutdown shuts the server down and fails the test if that takes too long. It may be called again.
func (s *Server) Shutdown() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	require.NoError(s.t, s.Server.Shutdown(ctx), "a connection was left behind")
}

// Dial opens a connection for t, which is the server's test or a part of it. It is closed when t ends, if not before.
func (s *Server) Dial(t testing.TB) *Conn {
	t.Helper()
	nc, err := net.DialTimeout(s.Network, s.Addr, Timeout)
	require.NoError(t, err)
	c := &Conn{Conn: nc, socket: nc.(socket), t: t, wrapped: s.wrapped}
	if s.client != nil {
		secured := tls.Client(nc, s.client)
		require.NoError(t, secured.SetDeadline(time.Now().Add(Timeout)))
		require.NoError(t, secured.Handshake())
		c.Conn = secured
	}
	c.in = bufio.NewReader(patient{c.Conn})
	t.Cleanup(func() { c.Conn.Close() })
	return c
}

// Stat returns one of the figures of STATS.
func (s *Server) Stat(name string) uint64 {
	stats := s.Stats()
	for _, st := range stats {
		if st.Name == name {
			return st.Value
		}
	}
	require.Failf(s.t, "no such figure", "%s is not in %v", name, stats)
	return 0
}

// Await waits until a figure of STATS has reached at least n: "bytes_in", for one, says that the server has read what was
// sent to it.
func (s *Server) Await(name string, n uint64) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.Stat(name) >= n }, Timeout, time.Millisecond, "%s is %d, not %d", name, s.Stat(name), n)
}

// AwaitRequests waits until no request holds memory any more, nor its answer. That may have come just before.
func (s *Server) AwaitRequests() {
	s.t.Helper()
	held := func() uint64 { return s.Stat("request_memory_bytes") + s.Stat("output_memory_bytes") }
	require.Eventually(s.t, func() bool { return held() == 0 }, Timeout, time.Millisecond)
}

// AwaitConnections waits until exactly n connections are open.
func (s *Server) AwaitConnections(n uint64) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.Stat("connections") == n }, Timeout, time.Millisecond)
}

// AwaitLog waits for a log line that has all of these in it.
func (s *Server) AwaitLog(parts ...string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return slices.ContainsFunc(s.Log.Lines(), hasAll(parts)) },
		Timeout, time.Millisecond, "no log line with %q", parts)
}
