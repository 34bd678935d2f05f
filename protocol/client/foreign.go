package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"kv/protocol"
	"kv/protocol/foreign"
)

var (
	// ErrTLS is the error of Dial without TLS where the server speaks TLS.
	ErrTLS = errors.New("the server speaks TLS, and none was asked for")
	// ErrNoTLS is the error of Dial with TLS where the server speaks kv without it.
	ErrNoTLS = errors.New("the server speaks kv without TLS")
)

// dialError is the error of a handshake, in words that say what is at the other end.
type dialError struct {
	says  string
	err   error
	spoke bool // something other than kv, or kv in another way, has answered
}

func (e *dialError) Error() string { return e.says }
func (e *dialError) Unwrap() error { return e.err }

// Lasting reports whether a [Dial] that failed with err would fail again until somebody changes something: who may
// connect, where to, or whether with TLS. What else keeps a server from answering, such as that it has not begun to
// listen or loads its data, may pass by itself.
func Lasting(err error) bool {
	var refused *protocol.Error
	var other *dialError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errUnixTLS):
		return true
	case errors.As(err, &refused):
		return refused.Status != protocol.StatusUnavailable
	case errors.As(err, &certificate):
		return true
	case errors.As(err, &other):
		return other.spoke
	}
	return false
}

// Times of looking at what is at the other end.
const (
	handshakeTime = 5 * time.Second // that the server may take for its part of TLS and for the answer to HELLO
	probeTime     = time.Second     // that one which has answered nothing may take to answer something else
)

// withHandshakeTime bounds a handshake, so that time is left to find out why it did not end.
func withHandshakeTime(ctx context.Context, o Options) (context.Context, time.Duration, context.CancelFunc) {
	limit := cmp.Or(o.handshake, handshakeTime)
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end)*2/3)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	return ctx, limit.Round(time.Millisecond), cancel
}

// explain returns the error of a handshake that failed with err, after the server sent first. It connects again to find out
// what the server speaks where that is not to be seen. limit is how long the handshake might take.
func explain(ctx context.Context, addr string, o Options, limit time.Duration, first []byte, err error) error {
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, new(*protocol.Error)), answers(first, protocol.OpHello),
		ctx.Err() != nil && context.Cause(ctx) != context.DeadlineExceeded:
		return err // the server's own words, its fault as one of kv, or we gave up
	case errors.As(err, &header):
		first = header.RecordHeader[:]
	}
	silent := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
	closed := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
	if len(first) == 0 && (silent || closed) {
		first = probe(ctx, addr, o, closed)
	}
	name := foreign.Server(first)
	switch {
	case o.TLS != nil && answers(first, protocol.OpPing):
		return &dialError{ErrNoTLS.Error(), errors.Join(ErrNoTLS, err), true}
	case o.TLS == nil && name == "TLS":
		return &dialError{ErrTLS.Error(), errors.Join(ErrTLS, err), true}
	case name != "":
		return &dialError{"the server speaks " + name + ", not kv", err, true}
	case len(first) > 0:
		return &dialError{fmt.Sprintf("the server speaks another protocol than kv: it begins with %q",
			first[:min(16, len(first))]), err, true}
	case silent:
		return &dialError{fmt.Sprintf("no answer to the greeting within %v: the server is none of kv, or it hangs", limit), err, false}
	case closed && len(first) == 0:
		return &dialError{"the server closed the connection without an answer: it may be none of kv", err, false}
	}
	return err
}

// probe returns how a server that said nothing begins to answer when it is spoken to in other protocols.
func probe(ctx context.Context, addr string, o Options, closed bool) []byte {
	limit := probeTime
	if closed { // it is there, and will answer again
		limit = max(limit, cmp.Or(o.handshake, handshakeTime))
	}
	switch {
	case o.TLS != nil:
		if first := ask(ctx, limit, addr, o, protocol.AppendHeader(nil, protocol.OpPing, 0, 1, 0)); len(first) > 0 {
			return first
		}
	case closed:
		if askTLS(ctx, limit, addr, o) {
			return []byte("\x15\x03")
		}
		return nil
	}
	return ask(ctx, limit, addr, o, []byte("PING\r\n\r\n")) // a command of Redis and memcached, and a bad request of HTTP
}

// ask sends a question on a connection of its own and returns how the answer begins.
func ask(ctx context.Context, limit time.Duration, addr string, o Options, question []byte) []byte {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := o.dial(ctx, addr)
	if err != nil {
		return nil
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn.Write(question)
	first := make([]byte, 64)
	n, _ := io.ReadAtLeast(conn, first, protocol.HeaderSize)
	return first[:n]
}

// askTLS reports whether the server speaks TLS.
func askTLS(ctx context.Context, limit time.Duration, addr string, o Options) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// Nothing but a handshake is sent over this connection, so the server need not prove who it is.
	conn, err := o.dial(ctx, addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	err = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx)
	return err == nil || errors.As(err, new(tls.AlertError))
}

// answers reports whether b begins as the answer to op, the first request of a connection, or as the frame by which a
// server refuses the connection.
func answers(b []byte, op protocol.Opcode) bool {
	if len(b) < protocol.HeaderSize {
		return false
	}
	h := protocol.ParseHeader(b)
	return protocol.CheckLength(h.Length) == nil &&
		(h.Opcode == op || h.Opcode == 0 && h.ID == 0 && h.Status() != protocol.StatusOK)
}
