// Package fakeserver is test support: servers that do what a script says, for clients that are to meet what no server of kv does.
package fakeserver

import (
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Start listens on a free port and runs script on every connection, which it closes after it. All of it is gone when
// the test ends.
func Start(t testing.TB, script func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var scripts sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	scripts.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			scripts.Go(func() {
				defer conn.Close()
				script(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, conn := range open {
			conn.Close()
		}
		mu.Unlock()
		scripts.Wait()
	})
	return l.Addr().String()
}
