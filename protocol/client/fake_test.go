package client

import (
	"bufio"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kv/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// request is one frame that a fake server read.
type request struct {
	protocol.Header
	body []byte
}

// readRequest reads one frame; ok is false once the client is gone.
func readRequest(in io.Reader) (q request, ok bool) {
	head := make([]byte, protocol.HeaderSize)
	if _, err := io.ReadFull(in, head); err != nil {
		return q, false
	}
	q.Header = protocol.ParseHeader(head)
	q.body = make([]byte, q.BodySize())
	_, err := io.ReadFull(in, q.body)
	return q, err == nil
}

var helloAnswer = protocol.HelloResponse{Version: protocol.Version, Limit: protocol.DefaultLimit, Instance: 7, Server: "fake"}

// answering is the script of a server that greets and then sends what answer returns for each request, nil for nothing.
func answering(answer func(request) []byte) func(net.Conn) {
	return func(conn net.Conn) {
		in := bufio.NewReader(conn)
		var out []byte
		for {
			q, ok := readRequest(in)
			if !ok {
				return
			}
			if q.Opcode == protocol.OpHello {
				out = helloAnswer.AppendTo(out, q.ID)
			} else {
				out = append(out, answer(q)...)
			}
			if in.Buffered() == 0 {
				if _, err := conn.Write(out); err != nil {
					return
				}
				out = out[:0]
			}
		}
	}
}

// echo answers a PING, and a GET with its key as the value.
func echo(q request) []byte {
	switch q.Opcode {
	case protocol.OpPing:
		return protocol.AppendResponse(nil, q.Opcode, protocol.StatusOK, q.ID, q.body)
	case protocol.OpGet:
		body := protocol.AppendMeta(nil, protocol.Meta{Version: 1})
		return protocol.AppendResponse(nil, q.Opcode, protocol.StatusOK, q.ID, append(body, q.body...))
	case protocol.OpSet:
		return protocol.AppendVersion(nil, q.Opcode, q.ID, 2)
	}
	return protocol.AppendError(nil, q.Opcode, q.ID, protocol.ErrUnknownOpcode)
}

// dial connects to a fake server and closes the client when the test ends.
func dial(t testing.TB, addr string, o Options) *Client {
	t.Helper()
	c, err := Dial(t.Context(), addr, o)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// soon is a context that ends before the test runner loses patience, for calls that are expected to return.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
