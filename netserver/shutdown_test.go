package netserver_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
	"kv/store"
)

// serveOn serves an empty store on l until the test ends, which must be able to shut it down.
func serveOn(t *testing.T, l net.Listener) *netserver.Server {
	st, err := store.Open(store.Options{})
	require.NoError(t, err)
	s, err := netserver.New(netserver.Config{Store: st, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), nettest.Timeout)
		defer cancel()
		require.NoError(t, s.Shutdown(ctx), "a connection was left behind")
		require.ErrorIs(t, <-served, netserver.ErrServerClosed)
		require.NoError(t, st.Close())
	})
	return s
}

// wrapping is a listener whose connections are more than a socket.
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

// counted is a socket with a Read and a Write of its own, as those that limit rates or speak the PROXY protocol have.
type counted struct {
	*net.TCPConn
	read, written *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// TestWrappedConnections: the methods of a connection are used, whatever it is made of; and its being idle does not hold up
// the end.
func TestWrappedConnections(t *testing.T) {
	var read, written atomic.Int64
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"without a descriptor": func(nc net.Conn) net.Conn { return struct{ net.Conn }{counted{nc.(*net.TCPConn), &read, &written}} },
		"with one":             func(nc net.Conn) net.Conn { return counted{nc.(*net.TCPConn), &read, &written} },
	} {
		t.Run(name, func(t *testing.T) {
			read.Store(0)
			written.Store(0)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			serveOn(t, wrapping{l, wrap})
			nc, err := net.Dial("tcp", l.Addr().String())
			require.NoError(t, err)
			t.Cleanup(func() { nc.Close() }) // after the server's end
			request := ping(1, "x")
			_, err = nc.Write(request)
			require.NoError(t, err)
			_, err = io.ReadFull(nc, make([]byte, len(request)))
			require.NoError(t, err)
			require.EqualValues(t, len(request), read.Load())
			require.Eventually(t, func() bool { return written.Load() == int64(len(request)) }, nettest.Timeout, time.Millisecond) // noted after it was sent
		})
	}
}

// TestShutdownSilent: connections that say nothing, not even a TLS handshake, don't hold up the end.
func TestShutdownSilent(t *testing.T) {
	nettest.Each(t, nettest.Options{}, func(t *testing.T, s *nettest.Server) {
		for range 20 {
			nc, err := net.Dial("tcp", s.Addr)
			require.NoError(t, err)
			t.Cleanup(func() { nc.Close() })
		}
		s.Shutdown() // some are not accepted yet
	})
}

// TestShutdownHungDisk: while an answer waits for a disk that does not answer, figures are given, and the end is as late as
// was said, not later.
func TestShutdownHungDisk(t *testing.T) {
	j := &journal{}
	nettest.Each(t, nettest.Options{Store: store.Options{Journal: j}}, func(t *testing.T, s *nettest.Server) {
		release := j.hold()
		defer release()
		for id := range uint32(3) {
			c := s.Dial(t)
			before := s.Stat("bytes_in")
			set := protocol.Set{Key: []byte("a")}.AppendTo(nil, id)
			c.Send(set)
			s.Await("bytes_in", before+uint64(len(set)))
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- s.Server.Shutdown(ctx) }()
		require.Eventually(t, s.Draining, nettest.Timeout, time.Millisecond)
		require.EqualValues(t, 3, s.Stat("connections"))
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		require.EqualValues(t, 3, s.Stat("connections"), "they wait for the disk")
	})
}
