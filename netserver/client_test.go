package netserver_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
	"kv/store"
)

// TestEntered: who has no connection of his own here has all that others have: a session, memory that is claimed, a
// turn at being cut off, figures; what he does not give back goes with him, and the server's end waits for him.
func TestEntered(t *testing.T) {
	s := nettest.Start(t, nettest.Options{Config: netserver.Config{RequestMemory: 1 << 20, OutputMemory: 4 << 20, ClientOutput: 3 << 20}})
	cut := make(chan struct{})
	c, err := s.Enter("192.0.2.7", func() { close(cut) })
	require.NoError(t, err)
	require.Equal(t, "192.0.2.7", c.Remote())
	require.Equal(t, netserver.AccessAdmin, c.Access(), "without users, everyone may do everything")

	_, err = c.Session().Set([]byte("k"), []byte("v"), store.SetOptions{})
	require.NoError(t, err)
	require.NoError(t, c.Flush())
	require.EqualValues(t, 1, s.Stat("set_ops"))
	c.Answered(protocol.StatusConflict, time.Millisecond)
	require.EqualValues(t, 1, s.Stat("requests"))
	require.EqualValues(t, 1, s.Stat("conflicts"))

	require.NoError(t, c.Claim(700_000))
	require.ErrorIs(t, c.Claim(700_000), protocol.ErrOutOfMemory)
	c.Release(100_000)
	require.EqualValues(t, 600_000, s.Stat("request_memory_bytes"))

	require.ErrorIs(t, c.Hold(t.Context(), "a list", 4<<20), protocol.ErrTooLarge)
	require.NoError(t, c.Hold(t.Context(), "a list", 3<<20))
	ended, end := context.WithCancel(t.Context())
	end()
	other, err := s.Enter("192.0.2.8", func() {})
	require.NoError(t, err)
	require.NotEqual(t, c.ID(), other.ID())
	require.ErrorIs(t, other.Hold(ended, "a value", 2<<20), protocol.ErrOutOfMemory, "it is waited for as long as somebody wants it")
	held := make(chan error, 1)
	c.Sending(true)
	go func() { held <- other.Hold(context.Background(), "a value", 2<<20) }()
	<-cut // the slowest
	s.AwaitLog("closing the slowest connection", "192.0.2.7")
	c.Sending(false)
	c.Leave()
	require.NoError(t, <-held)
	require.Zero(t, s.Stat("request_memory_bytes"))

	done := make(chan error, 1)
	go func() { done <- s.Server.Shutdown(context.Background()) }()
	require.Eventually(t, s.Draining, nettest.Timeout, time.Millisecond)
	_, err = s.Enter("192.0.2.9", nil)
	require.ErrorIs(t, err, netserver.ErrServerClosed)
	select {
	case err := <-done:
		require.Fail(t, "the server has ended before its client has left", "%v", err)
	default:
	}
	other.Leave()
	require.NoError(t, <-done)
}
