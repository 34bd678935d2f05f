package netserver_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
	"kv/store"
)

// FuzzFrames sends arbitrary bytes to a live server, cut in two. Whatever they are, every whole frame before the first bad
// length has exactly one answer, in order, with its opcode and id; then the connection ends, and the next one works.
func FuzzFrames(f *testing.F) {
	const limit = 100_000
	requests := every()
	f.Add(bytes.Join(requests, nil), uint(0))
	for i, r := range requests {
		f.Add(r, uint(i))
		f.Add(append(bytes.Clone(r), requests[(i+5)%len(requests)]...), uint(len(r)+i))
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint(3))
	f.Add(append(ping(1, string(make([]byte, limit))), ping(2, "")...), uint(limit/2))
	f.Add(append(ping(1, string(make([]byte, 50_000))), ping(2, "")...), uint(40_000))
	f.Add(withLength(ping(1, ""), 7), uint(1))

	s := nettest.Start(f, nettest.Options{Store: store.Options{MaxMemory: 64 << 20, History: 1}, Config: netserver.Config{Limit: limit}})
	f.Fuzz(func(t *testing.T, stream []byte, cut uint) {
		c := s.Dial(t)
		defer c.Close()
		at := int(cut % uint(len(stream)+1))
		// The end is mostly one that the server sees first: then it, not the client, has to remember the connection for a
		// minute, and the client does not run out of ports.
		headers, missing := wholeFrames(stream)
		halfClose := cut%8 == 7 || missing > 1<<20
		end := []byte{0, 0, 0, 0}
		if !halfClose && missing > 0 {
			stream = append(bytes.Clone(stream), make([]byte, missing)...)
			headers, _ = wholeFrames(stream)
		}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for _, part := range [][]byte{stream[:at], stream[at:]} {
				if _, err := c.Write(part); err != nil {
					return // the server has closed
				}
			}
			if halfClose {
				c.Conn.(*net.TCPConn).CloseWrite() // fails if the server was faster
			} else {
				c.Write(end)
			}
		}()
		for _, want := range headers {
			got := c.Next()
			require.Equal(t, want.Opcode, got.Opcode)
			require.Equal(t, want.ID, got.ID)
			require.Zero(t, got.Reserved)
			require.LessOrEqual(t, got.Status(), protocol.StatusInternal)
			require.NotEqual(t, protocol.StatusInternal, got.Status(), "%s", got.Body)
			if want.Length > limit {
				require.Equal(t, protocol.StatusTooLarge, got.Status())
			}
		}
		_, err := c.ReadFrame()
		require.ErrorIs(t, err, io.EOF)
		<-sent
	})
}

// wholeFrames returns the headers of the frames in stream that have to be answered, and how many bytes the one behind them
// is short of: very many, if not even its header is there.
func wholeFrames(stream []byte) (headers []protocol.Header, missing int) {
	for len(stream) >= 4 {
		if protocol.CheckLength(binary.BigEndian.Uint32(stream)) != nil {
			return headers, 0
		}
		if len(stream) < protocol.HeaderSize {
			break
		}
		h := protocol.ParseHeader(stream)
		if h.Size() > len(stream) {
			return headers, h.Size() - len(stream)
		}
		headers = append(headers, h)
		stream = stream[h.Size():]
	}
	if len(stream) == 0 {
		return headers, 0
	}
	return headers, 1 << 30
}
