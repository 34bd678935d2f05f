package main

import (
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/client"
)

// TestStopped: a server that was stopped for a while, as by a debugger, says so when it goes on, and answers whoever has
// asked meanwhile; what had a time to live has lived it.
func TestStopped(t *testing.T) {
	p := start(t)
	c := p.mustDial(client.Options{})
	key, other := []byte("key"), []byte("other")
	_, err := c.Set(t.Context(), protocol.Set{Key: key, Value: []byte("value"), TTL: 1000})
	require.NoError(t, err)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGSTOP))
	stopped := time.Now()
	nc, err := net.Dial("tcp", p.addr) // the system takes it
	require.NoError(t, err)
	defer nc.Close()
	_, err = nc.Write(protocol.Set{Key: other, Value: []byte("value")}.AppendTo(nil, 1))
	require.NoError(t, err)
	set := make(chan error)
	go func() {
		_, err := c.Set(t.Context(), protocol.Set{Key: []byte("third"), Value: []byte("value")})
		set <- err
	}()
	time.Sleep(3 * time.Second) // how long it is stopped is what this is about
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGCONT))
	p.await("the process did not run")
	require.NoError(t, <-set)
	_, err = io.ReadFull(nc, make([]byte, protocol.HeaderSize))
	require.NoError(t, err)
	_, err = c.Get(t.Context(), other)
	require.NoError(t, err)
	_, err = c.Get(t.Context(), key)
	require.ErrorIs(t, err, protocol.ErrNotFound, "%v after it was stopped", time.Since(stopped))
	p.stop(syscall.SIGTERM)
}
