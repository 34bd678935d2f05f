package netserver_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver/nettest"
	"kv/protocol"
	"kv/store"
)

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

// hidden is a connection of which no more is known than that it can be read, written and closed for writing.
type hidden struct{ net.Conn }

func (c hidden) CloseWrite() error { return c.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// eachTransport runs one test body over every kind of transport that there is: sockets and streams, with TLS and without.
func eachTransport(t *testing.T, o nettest.Options, test func(t *testing.T, s *nettest.Server)) {
	nettest.Each(t, o, test)
	o.Wrap = func(nc net.Conn) net.Conn { return hidden{nc} }
	t.Run("wrapped", func(t *testing.T) { test(t, nettest.Start(t, o)) })
	o.TLS = true
	t.Run("wrapped TLS", func(t *testing.T) { test(t, nettest.Start(t, o)) })
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
			s := nettest.Start(t, nettest.Options{Wrap: wrap})
			request := ping(1, "x")
			s.Dial(t).Do(request)
			require.EqualValues(t, len(request), read.Load())
			require.Eventually(t, func() bool { return written.Load() == int64(len(request)) }, nettest.Timeout, time.Millisecond) // noted after it was sent
			s.Shutdown()
		})
	}
}

// TestShutdownSilent: connections that say nothing, not even a TLS handshake, don't hold up the end.
func TestShutdownSilent(t *testing.T) {
	eachTransport(t, nettest.Options{}, func(t *testing.T, s *nettest.Server) {
		for range 20 {
			nc, err := net.Dial(s.Network, s.Addr)
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
	eachTransport(t, nettest.Options{Store: store.Options{Journal: j}}, func(t *testing.T, s *nettest.Server) {
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
