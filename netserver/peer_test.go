package netserver_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
)

// Over a Unix socket no TLS is spoken, whatever is spoken over TCP: nobody is on the way.
func TestUnixSocketHasNoTLS(t *testing.T) {
	secure, _ := nettest.Certificate(t)
	s := nettest.Start(t, nettest.Options{Unix: true, Config: netserver.Config{TLS: secure, MaxConnections: 1}})
	c := s.Dial(t)
	require.Equal(t, protocol.StatusOK, c.Do(ping(1, "")).Status())

	other := s.Dial(t)
	require.Equal(t, protocol.StatusUnavailable, other.Next().Status(), "that there are too many is told without TLS too")
	other.ExpectClosed()
	s.AwaitLog("too many", other.Logged())
}
