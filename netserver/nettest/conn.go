package nettest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/protocol"
)

// Conn is a client's connection that sends and receives raw frames.
type Conn struct {
	net.Conn
	socket  socket
	in      *bufio.Reader // of patient
	t       testing.TB
	wrapped bool // by Options.Wrap
}

// socket is what a TCP connection and a Unix socket have in common.
type socket interface {
	net.Conn
	CloseWrite() error
	SetReadBuffer(bytes int) error
}

// patient reads from a connection for at most Timeout.
type patient struct{ net.Conn }

func (p patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(Timeout)); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

// Frame is a response.
type Frame struct {
	protocol.Header
	Body []byte
}

// Read reads as [net.Conn] does, for at most Timeout.
func (c *Conn) Read(p []byte) (int, error) { return c.in.Read(p) }

// Write writes as [net.Conn] does, for at most Timeout.
func (c *Conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(Timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Send sends bytes, frames as a rule, in one piece.
func (c *Conn) Send(frames ...[]byte) {
	c.t.Helper()
	var all []byte
	for _, f := range frames {
		all = append(all, f...)
	}
	_, err := c.Write(all)
	require.NoError(c.t, err)
}

// SendSlowly sends bytes one by one, each in a packet of its own. The server may find several at a time nevertheless; see
// Server.Await to be sure of a cut.
func (c *Conn) SendSlowly(frames ...[]byte) {
	c.t.Helper()
	for _, f := range frames {
		for i := range f {
			c.Send(f[i : i+1])
		}
	}
}

// Next returns the next response.
func (c *Conn) Next() Frame {
	c.t.Helper()
	f, err := c.ReadFrame()
	require.NoError(c.t, err, "reading a response")
	return f
}

// ReadFrame is Next for those who expect an error: io.EOF where the server closed the connection between two frames.
func (c *Conn) ReadFrame() (Frame, error) {
	var head [protocol.HeaderSize]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return Frame{}, err
	}
	h := protocol.ParseHeader(head[:])
	if err := protocol.CheckLength(h.Length); err != nil {
		return Frame{}, err
	}
	body := make([]byte, h.BodySize())
	_, err := io.ReadFull(c, body)
	return Frame{h, body}, err
}

// Expect takes the next response, which must be this one, and returns its body.
func (c *Conn) Expect(op protocol.Opcode, status protocol.Status, id uint32) []byte {
	c.t.Helper()
	f := c.Next()
	require.Equal(c.t, []any{op, status, id}, []any{f.Opcode, f.Status(), f.ID}, "opcode, status, id; body %.200q", f.Body)
	require.Zero(c.t, f.Reserved)
	return f.Body
}

// Do sends one request and returns its response.
func (c *Conn) Do(frame []byte) Frame {
	c.t.Helper()
	c.Send(frame)
	f := c.Next()
	require.Equal(c.t, protocol.ParseHeader(frame).ID, f.ID, "the response's id")
	return f
}

// Logged is what the server's log calls the client: its address, or of a Unix socket its process and user.
func (c *Conn) Logged() string {
	if c.LocalAddr().Network() != "unix" {
		return c.LocalAddr().String()
	}
	if c.wrapped || runtime.GOOS != "linux" {
		return "unix" // it can't be seen who is there
	}
	return fmt.Sprintf("unix:pid=%d,uid=%d,gid=%d", os.Getpid(), os.Getuid(), os.Getgid())
}

// SetReadBuffer sets how much the system keeps of what the server sends.
func (c *Conn) SetReadBuffer(bytes int) error { return c.socket.SetReadBuffer(bytes) }

// CloseWrite says that nothing more will be sent; responses can still be read.
func (c *Conn) CloseWrite() {
	c.t.Helper()
	if secured, ok := c.Conn.(*tls.Conn); ok {
		require.NoError(c.t, secured.CloseWrite())
	}
	require.NoError(c.t, c.socket.CloseWrite())
}

// ExpectClosed checks that the server closes the connection without sending anything more.
func (c *Conn) ExpectClosed() {
	c.t.Helper()
	n, err := c.Read(make([]byte, 1))
	require.Zero(c.t, n, "a byte where the connection should have been closed")
	require.Error(c.t, err)
	require.False(c.t, errors.Is(err, os.ErrDeadlineExceeded), "the connection was not closed")
}

// Abort closes the connection with a reset instead of a goodbye; a Unix socket knows no difference.
func (c *Conn) Abort() {
	c.t.Helper()
	if tcp, ok := c.socket.(*net.TCPConn); ok {
		require.NoError(c.t, tcp.SetLinger(0))
	}
	require.NoError(c.t, c.socket.Close())
}
