package resp_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
)

// FuzzStream sends any bytes, in pieces of any size: what comes back are whole answers, to the end of the connection,
// and the server goes on.
func FuzzStream(f *testing.F) {
	for _, s := range []string{
		request("PING") + request("SET", "a", "b") + request("GET", "a"),
		request("MULTI") + request("INCR", "n") + request("EXEC") + "PING\r\n\r\n" + request("NONSENSE", "\r\n"),
		request("HELLO", "3") + request("CONFIG", "GET", "*") + request("COMMAND") + request("CLIENT", "LIST") + request("INFO"),
		request("CLIENT", "REPLY", "SKIP") + request("PING") + request("CLIENT", "REPLY", "OFF") + request("GET", "a"),
		request("MSET", "a", strings.Repeat("v", 70_000), "b", strings.Repeat("v", 70_000)) + request("MGET", "a", "b"),
		request("SETRANGE", "a", "100000", "x") + request("GETSET", "a", "1") + request("SCAN", "0") + request("KEYS", "*"),
		"*1\r\n$2147483647\r\n", "*1000000\r\n$-1\r\n", "*3\r\n$3\r\nSET\r\n$1\r\na\r\n", "GET / HTTP/1.1\r\n", "set a \"b\r\n", "*0\r\n*-1\r\n*1\r\n$0\r\n\r\n",
		request("QUIT") + request("PING"), request("RESET") + request("WATCH", "a") + request("MULTI") + request("MULTI"),
	} {
		f.Add([]byte(s), uint16(0))
		f.Add([]byte(s), uint16(7))
	}
	s := nettest.Start(f, withDoor(netserver.Config{Limit: 128 << 10, RequestMemory: 1 << 20}))
	f.Fuzz(func(t *testing.T, in []byte, piece uint16) {
		if len(in) > 0 && in[0] < 0x10 {
			return // kv frames begin so
		}
		nc, err := net.Dial("tcp", s.Addr)
		require.NoError(t, err)
		require.NoError(t, nc.SetDeadline(time.Now().Add(nettest.Timeout)))
		c := &client{t: t, in: bufio.NewReader(nc)}
		sent := make(chan struct{})
		go func() { // the server may stop reading
			defer close(sent)
			rest := in
			for len(rest) > 0 {
				n := len(rest)
				if piece > 0 {
					n = min(n, int(piece))
				}
				if _, err := nc.Write(rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
			_ = nc.(*net.TCPConn).CloseWrite() // it may be closed
		}()
		for {
			if _, err := c.read(); err != nil {
				require.ErrorIs(t, err, io.EOF)
				break
			}
		}
		_ = nc.Close()
		<-sent
	})
}
