package netserver_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
)

// TestTurnAway: who connects before there is a server is told why, in plain and over TLS, whatever he has sent; and then the
// listener serves.
func TestTurnAway(t *testing.T) {
	certificate, trusting := nettest.Certificate(t)
	for name, secure := range map[string]*tls.Config{"plain": nil, "TLS": certificate} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer l.Close()
			ctx, stop := context.WithCancel(t.Context())
			n := 0
			ended := make(chan struct{})
			go func() {
				netserver.TurnAway(ctx, l.(netserver.Listener), secure, []netserver.Door{echoes{}}, func() string { n++; return fmt.Sprint("loading ", n) })
				close(ended)
			}()
			for i, first := range []string{string(ping(7, "x")), "~1:x", "?", ""} {
				var c net.Conn
				if secure == nil {
					c, err = net.Dial("tcp", l.Addr().String())
				} else {
					c, err = tls.Dial("tcp", l.Addr().String(), trusting)
				}
				require.NoError(t, err)
				require.NoError(t, c.SetDeadline(time.Now().Add(nettest.Timeout)))
				_, err = io.WriteString(c, first)
				require.NoError(t, err)
				got, err := io.ReadAll(c)
				require.NoError(t, err)
				want := protocol.AppendError(nil, 0, 0, &protocol.Error{Status: protocol.StatusUnavailable, Message: fmt.Sprint("loading ", i+1)})
				if first != "" && first[0] == '~' {
					want = fmt.Appendf(nil, "!true loading %d", i+1)
				}
				require.True(t, bytes.Equal(want, got), "%q", got)
				require.NoError(t, c.Close())
			}
			stop()
			<-ended
			go net.Dial("tcp", l.Addr().String())
			c, err := l.Accept()
			require.NoError(t, err)
			require.NoError(t, c.Close())
		})
	}
}
