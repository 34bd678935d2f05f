package netserver_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
)

// pieces is a connection that sends everything in pieces of a size.
type pieces struct {
	net.Conn
	size int
}

func (p pieces) Write(b []byte) (int, error) {
	for at := 0; at < len(b); at += p.size {
		if n, err := p.Conn.Write(b[at:min(at+p.size, len(b))]); err != nil {
			return at + n, err
		}
	}
	return len(b), nil
}

// TestRecordsInPieces: TLS's records and handshakes may arrive in any pieces, since a read that finds a part of one
// does not wait for the rest.
func TestRecordsInPieces(t *testing.T) {
	certificate, trusting := nettest.Certificate(t)
	requests := every()
	stream := append(join(requests), ping(99, string(make([]byte, 40_000)))...)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := nettest.Start(t, nettest.Options{Config: netserver.Config{TLS: certificate}})
		var want []byte
		for _, size := range []int{1 << 20, 1, 3, 7, 100, 5000} {
			nc, err := net.Dial("tcp", s.Addr)
			require.NoError(t, err)
			defer nc.Close()
			require.NoError(t, nc.SetDeadline(time.Now().Add(nettest.Timeout)))
			config := trusting.Clone()
			config.MinVersion, config.MaxVersion = version, version
			c := tls.Client(pieces{nc, size}, config)
			go func() {
				c.Write(stream)
				c.CloseWrite()
			}()
			var got []byte
			for head := make([]byte, protocol.HeaderSize); ; {
				if _, err := io.ReadFull(c, head); err != nil {
					require.ErrorIs(t, err, io.EOF)
					break
				}
				h := protocol.ParseHeader(head)
				_, err := io.CopyN(io.Discard, c, int64(h.BodySize()))
				require.NoError(t, err)
				got = append(got, head[4:]...) // all but the length, which figures may change
			}
			if want == nil {
				want = got
				require.Equal(t, len(requests)+1, len(got)/8)
			}
			require.True(t, bytes.Equal(want, got), "pieces of %d bytes", size)
		}
	}
}

// cut is a connection that sends so many bytes more, and says of the others that they were sent.
type cut struct {
	net.Conn
	left *int
}

func (c cut) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b[:min(*c.left, len(b))])
	*c.left -= n
	return len(b), err
}

// TestRecordThatDoesNotEnd: who begins a record of TLS, for which memory is taken, has as long for it as for a frame.
func TestRecordThatDoesNotEnd(t *testing.T) {
	certificate, trusting := nettest.Certificate(t)
	for name, wrap := range map[string]func(net.Conn) net.Conn{"socket": nil, "stream": func(nc net.Conn) net.Conn { return hidden{nc} }} {
		t.Run(name, func(t *testing.T) {
			s := nettest.Start(t, nettest.Options{Wrap: wrap, Config: netserver.Config{TLS: certificate, FrameTimeout: 4 * soon}})
			for _, before := range [][]byte{nil, ping(1, "before")} {
				for _, bytes := range []int{1, 4, 5, 6, 30} {
					nc, err := net.Dial("tcp", s.Addr)
					require.NoError(t, err)
					require.NoError(t, nc.SetDeadline(time.Now().Add(nettest.Timeout)))
					left := 1 << 20
					c := tls.Client(cut{nc, &left}, trusting)
					require.NoError(t, c.Handshake())
					if before != nil {
						_, err = c.Write(before)
						require.NoError(t, err)
						_, err = io.ReadFull(c, make([]byte, len(before)))
						require.NoError(t, err)
					}
					left = bytes
					_, err = c.Write(ping(2, string(make([]byte, 1000))))
					require.NoError(t, err)
					_, err = io.ReadAll(c)
					require.NoError(t, err, "it is closed with a goodbye")
					s.AwaitLog("too long to arrive", nc.LocalAddr().String())
					require.NoError(t, nc.Close())
				}
			}
			idle, err := tls.Dial("tcp", s.Addr, trusting)
			require.NoError(t, err)
			defer idle.Close()
			s.AwaitConnections(1)
		})
	}
}
