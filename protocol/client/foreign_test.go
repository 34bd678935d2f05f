package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol/fakeserver"
)

// saying is the script of a server that begins to speak.
func saying(greeting string) func(net.Conn) {
	return func(conn net.Conn) {
		io.WriteString(conn, greeting)
		io.Copy(io.Discard, conn)
	}
}

// answeringLines is the script of a server that answers each line with another, as Redis and memcached do.
func answeringLines(answer func(line string) string) func(net.Conn) {
	return func(conn net.Conn) {
		in := bufio.NewScanner(conn)
		for in.Scan() {
			io.WriteString(conn, answer(strings.TrimSpace(in.Text())))
		}
	}
}

// What does not speak kv is told by name, whether it speaks first, answers nonsense, waits for more, or closes.
func TestWhatElseIsThere(t *testing.T) {
	web := httptest.NewServer(nil)
	t.Cleanup(web.Close)
	webTLS := httptest.NewTLSServer(nil)
	t.Cleanup(webTLS.Close)
	roots := x509.NewCertPool()
	roots.AddCert(webTLS.Certificate())
	cert := &tls.Config{Certificates: webTLS.TLS.Certificates}
	redis := answeringLines(func(line string) string {
		if line == "PING" {
			return "+PONG\r\n"
		}
		return "" // a line that begins with NUL is an empty one
	})
	waiting := map[string]bool{ // for the end of a line, or of something that never comes
		"HTTP": true, "Redis": true, "Redis, asked TLS": true, "memcached": true, "silence": true, "silence, with TLS": true,
	}
	for name, tt := range map[string]struct {
		addr string
		tls  bool
		want string
	}{
		"HTTP":              {web.Listener.Addr().String(), false, "the server speaks HTTP, not kv"},
		"HTTP, asked TLS":   {web.Listener.Addr().String(), true, "the server speaks HTTP, not kv"},
		"HTTPS":             {webTLS.Listener.Addr().String(), false, "the server speaks TLS, and none was asked for"},
		"kv over TLS":       {fakeserver.Start(t, func(conn net.Conn) { answering(echo)(tls.Server(conn, cert)) }), false, "the server speaks TLS, and none was asked for"},
		"kv without TLS":    {fakeserver.Start(t, closing(answering(echo))), true, "the server speaks kv without TLS"},
		"HTTP at once":      {fakeserver.Start(t, saying("HTTP/1.1 400 Bad Request\r\n\r\n")), false, "the server speaks HTTP, not kv"},
		"Redis":             {fakeserver.Start(t, redis), false, "the server speaks Redis (RESP), not kv"},
		"Redis, asked TLS":  {fakeserver.Start(t, redis), true, "the server speaks Redis (RESP), not kv"},
		"Redis, an error":   {fakeserver.Start(t, saying("-ERR unknown command\r\n")), false, "the server speaks Redis (RESP), not kv"},
		"memcached":         {fakeserver.Start(t, answeringLines(func(string) string { return "ERROR\r\n" })), false, "the server speaks memcached, not kv"},
		"SSH":               {fakeserver.Start(t, saying("SSH-2.0-OpenSSH_9.2p1\r\n")), false, "the server speaks SSH, not kv"},
		"SSH, asked TLS":    {fakeserver.Start(t, saying("SSH-2.0-OpenSSH_9.2p1\r\n")), true, "the server speaks SSH, not kv"},
		"SMTP":              {fakeserver.Start(t, saying("220 a\r\n")), false, "the server speaks SMTP or FTP, not kv"},
		"MySQL":             {fakeserver.Start(t, saying("J\x00\x00\x00\n8.0.36\x00")), false, "the server speaks MySQL, not kv"},
		"NATS":              {fakeserver.Start(t, saying("INFO {\"server_id\":1}\r\n")), false, "the server speaks NATS, not kv"},
		"PostgreSQL":        {fakeserver.Start(t, saying("E\x00\x00\x00\x8bSFATAL\x00")), false, "the server speaks PostgreSQL, not kv"},
		"HTTP/2":            {fakeserver.Start(t, saying("\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00")), false, "the server speaks HTTP/2, not kv"},
		"a TLS alert":       {fakeserver.Start(t, saying("\x15\x03\x01\x00\x02\x02\x46")), false, "the server speaks TLS, and none was asked for"},
		"something":         {fakeserver.Start(t, saying("welcome, stranger\x1b[2J")), false, `the server speaks another protocol than kv: it begins with "welcome, str`},
		"closed":            {fakeserver.Start(t, func(net.Conn) {}), false, "closed the connection without an answer"},
		"closed, asked TLS": {fakeserver.Start(t, func(net.Conn) {}), true, "closed the connection without an answer"},
		"silence":           {fakeserver.Start(t, saying("")), false, "no answer to the greeting within 100ms"},
		"silence, with TLS": {fakeserver.Start(t, saying("")), true, "no answer to the greeting within 100ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{User: "anna", Secret: "s3cret", handshake: time.Minute}
			if waiting[name] {
				o.handshake = 100 * time.Millisecond
			}
			if tt.tls {
				o.TLS = &tls.Config{RootCAs: roots}
			}
			c, err := Dial(soon(t), tt.addr, o)
			require.ErrorContains(t, err, "connect to "+tt.addr+": ")
			assert.Nil(t, c)
			assert.ErrorContains(t, err, tt.want)
			assert.Equal(t, strings.Contains(tt.want, "TLS, and"), errors.Is(err, ErrTLS), "%v", err)
			assert.Equal(t, strings.Contains(tt.want, "without TLS"), errors.Is(err, ErrNoTLS), "%v", err)
		})
	}
}

// closing is the script of a server that closes the connection where what comes is no frame.
func closing(script func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		in := bufio.NewReader(conn)
		if b, err := in.Peek(1); err != nil || b[0] >= 0x10 {
			return
		}
		script(&buffered{conn, in})
	}
}

type buffered struct {
	net.Conn
	in *bufio.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.in.Read(p) }

// The handshake's own time is no more than what the caller gives to all of it, and giving up is not explained.
func TestHandshakeTime(t *testing.T) {
	silent := fakeserver.Start(t, saying(""))
	_, err := Dial(soon(t), silent, Options{Timeout: 1500 * time.Millisecond})
	require.Error(t, err)
	assert.Regexp(t, `no answer to the greeting within (1s|\d+ms):`, err.Error(), "two thirds, of what connecting has left")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{})
	addr := fakeserver.Start(t, func(conn net.Conn) {
		readRequest(conn)
		close(asked)
		io.Copy(io.Discard, conn)
	})
	go func() {
		<-asked
		cancel()
	}()
	_, err = Dial(ctx, addr, Options{})
	assert.ErrorIs(t, err, context.Canceled)
}

// TestWhoHasClosedMayTakeItsTime: a server that has ended the connection is there, however busy, so the search for its
// protocol may take as long as a handshake. A server that says nothing was waited for already.
func TestWhoHasClosedMayTakeItsTime(t *testing.T) {
	for _, secure := range []*tls.Config{nil, {}} {
		for closed, least := range map[bool]time.Duration{true: handshakeTime, false: probeTime} {
			asked, began := 0, time.Now()
			o := Options{TLS: secure, dialer: func(ctx context.Context, _ string) (net.Conn, error) {
				asked++
				end, ok := ctx.Deadline()
				require.True(t, ok)
				require.False(t, end.Before(began.Add(least)))
				require.False(t, end.After(time.Now().Add(least)))
				return nil, io.EOF
			}}
			probe(t.Context(), "", o, closed)
			require.NotZero(t, asked)
		}
	}
}
