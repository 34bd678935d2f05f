package netserver

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// transport carries the bytes of a connection, with or without TLS. It is all that knows what kind of connection that
// is; what happens on it does not depend on that. A socket can be asked whether something is there. Of any other
// net.Conn, one that wraps a socket among them, no more is known than its methods: that is a stream.
//
// It is the connection's goroutine's, but for SetReadDeadline, abort and reset.
type transport interface {
	// handshake does TLS's, until the read deadline.
	handshake() error
	// wait calls r.readable when something may have come: for the first time at once where that can be asked, and until
	// that returns true, or the read deadline has passed, which is the error then.
	wait(r reader) error
	// read reads what is there. It waits for nothing: errNothing says that nothing is there, io.EOF that nothing will be.
	read(p []byte, r *receipt) (n int, err error)
	// halfway reports whether a part of something has come that read does not give before it is whole: a record of TLS.
	halfway() bool
	// look has the next read ask whether something has come since the last one, which read may know without.
	look()
	// write and writeList send everything. The error matches errSlowRead if the other side was too slow to take it.
	write(p []byte) error
	writeList(list net.Buffers) error
	SetReadDeadline(t time.Time) error
	// canAsk reports whether read knows what has come; else that takes a wait.
	canAsk() bool
	// close closes the connection. With notify, TLS says so; if it lingers, what was sent can arrive.
	close(notify, lingers bool)
	// abort closes the connection from any goroutine, which it does not keep waiting; reset takes back what is on its way, too.
	abort(reset bool)
}

// reader is who waits for a transport.
type reader interface {
	// readable reads until read says errNothing, and returns false to wait for more.
	readable() bool
}

// errNothing says that there is nothing to be read now. For TLS, as for package net, that is no reason to give up.
const errNothing = syscall.EAGAIN

const (
	// lingerTime is how long a connection that the server ends is still read from, and what comes thrown away: closing a
	// socket with unread bytes in it would take back answers that are on their way.
	lingerTime = time.Second
	// streamBuffer is how many bytes are read from a stream at a time.
	streamBuffer = 4 << 10
)

// newTransport returns the transport over an accepted connection of this client.
func newTransport(nc net.Conn, secure *tls.Config, c *Client) transport {
	secure = secureFor(nc, secure)
	p := patient{Conn: nc, client: c, timeout: c.server.config.WriteTimeout}
	if raw := rawConn(nc); raw != nil {
		s := &socket{ends: ends{patient: p}, raw: raw, fd: -1}
		s.onReadable = s.readFrom
		if secure != nil {
			s.secure = tls.Server(s, secure)
		}
		return s
	}
	s := &stream{ends: ends{patient: p}}
	s.from = &s.patient
	if secure != nil {
		s.secure = tls.Server(s, secure)
		s.from = s.secure
	}
	return s
}

// ends is how both kinds of transport begin and end.
type ends struct {
	patient           // over the accepted connection
	secure  *tls.Conn // over that; nil: there is no TLS
	records records   // TLS's
	shaken  bool      // its handshake is done
}

func (e *ends) handshake() error {
	if e.secure == nil {
		return nil
	}
	err := e.secure.Handshake()
	e.shaken = err == nil
	return err
}

func (e *ends) halfway() bool { return e.records.halfway() }

func (e *ends) writeList(list net.Buffers) error {
	if e.secure == nil {
		return e.writeBuffers(&list)
	}
	_, err := list.WriteTo(e.secure)
	return err
}

func (e *ends) close(notify, lingers bool) {
	if notify && e.secure != nil {
		e.timeout = min(e.timeout, lingerTime)
		e.secure.CloseWrite()
	}
	if lingers {
		linger(e.Conn)
	}
	e.Conn.Close()
}

func (e *ends) abort(reset bool) {
	if t, ok := e.Conn.(*net.TCPConn); ok && reset {
		t.SetLinger(0)
	}
	go e.Conn.Close() // waits for who is in a read of the socket, and so for the disk that an answer there waits for
}

// linger says that nothing more will be sent, and reads until the client, seeing that, closes too.
func linger(nc net.Conn) {
	cw, ok := nc.(interface{ CloseWrite() error })
	if !ok || cw.CloseWrite() != nil {
		return
	}
	nc.SetReadDeadline(time.Now().Add(lingerTime))
	io.Copy(io.Discard, nc)
}

// socket is a transport that is read and written without waiting, where the system allows that; and, for TLS over it, a net.Conn.
type socket struct {
	ends
	raw        syscall.RawConn
	onReadable func(fd uintptr) bool
	reader     reader   // wait's
	fd         int32    // while onReadable runs; else -1
	drained    bool     // the last read left nothing, the end not counted
	sent       bool     // something was sent since
	r          *receipt // read's
}

func (s *socket) wait(r reader) error {
	s.reader = r
	return s.raw.Read(s.onReadable)
}

func (s *socket) readFrom(fd uintptr) bool {
	s.fd, s.drained = int32(fd), false
	done := s.reader.readable()
	s.fd = -1
	return done
}

func (s *socket) read(p []byte, r *receipt) (n int, err error) {
	if s.secure == nil {
		return s.readFD(p, r)
	}
	s.r = r
	n, err = s.secure.Read(p)
	s.r = nil
	return n, err
}

// readFD reads what is there. After a read that left nothing it says so without a look, if something was sent since. A
// reset that came with the bytes that were read is not among what is left, and wakes nobody again; but sending then
// fails.
func (s *socket) readFD(p []byte, r *receipt) (n int, err error) {
	if s.drained && s.sent {
		return 0, errNothing
	}
	s.sent = false
	n, s.drained, err = readFD(int(s.fd), p, r)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Read reads for TLS: what is there, or, during the handshake, what comes.
func (s *socket) Read(p []byte) (n int, err error) {
	if s.fd < 0 {
		n, err = s.Conn.Read(p)
	} else {
		n, err = s.readFD(p, s.r)
	}
	s.records.follow(p[:n])
	return n, err
}

func (s *socket) writeList(list net.Buffers) error {
	s.sent = true
	return s.ends.writeList(list)
}

func (s *socket) write(p []byte) error {
	if s.secure != nil {
		_, err := s.secure.Write(p)
		return err
	}
	_, err := s.Write(p)
	return err
}

// Write sends p: at once, if the socket takes it.
func (s *socket) Write(p []byte) (n int, err error) {
	s.sent = true
	if s.fd >= 0 {
		n, err = writeFD(int(s.fd), p)
		if n == len(p) || err != nil {
			return n, err
		}
	}
	more, err := s.patient.Write(p[n:])
	return n + more, err
}

func (s *socket) look() { s.drained = false }

func (s *socket) canAsk() bool { return true }

// stream is a transport that is read while something is waited for. What has come lies here until it is read, so that
// nothing else has to be kept while the connection waits.
type stream struct {
	ends
	from   net.Conn // patient, or TLS over it
	buffer []byte   // what is read goes here
	come   []byte   // the part of it that has not been read from here
	end    error    // what ended it
	told   bool     // that a part of a record has come, to who waits
}

func (s *stream) wait(r reader) error {
	if s.buffer == nil {
		s.buffer = make([]byte, streamBuffer)
	}
	for {
		n, err := s.from.Read(s.buffer)
		s.come = s.buffer[:n]
		switch {
		case n > 0 && errors.Is(err, os.ErrDeadlineExceeded): // the next wait says so again
		case errors.Is(err, errNothing): // a part of a record is
		case err != nil && n == 0:
			return err
		case err != nil:
			s.end = err
		}
		if r.readable() {
			return nil
		}
	}
}

// Read reads for TLS. Before it waits for the rest of a record, it says once that there is nothing.
func (s *stream) Read(p []byte) (int, error) {
	if s.shaken && s.records.halfway() && !s.told {
		s.told = true
		return 0, errNothing
	}
	n, err := s.Conn.Read(p)
	s.records.follow(p[:n])
	s.told = s.told && n == 0
	return n, err
}

func (s *stream) read(p []byte, _ *receipt) (n int, err error) {
	if len(s.come) == 0 {
		if s.end != nil {
			return 0, s.end
		}
		return 0, errNothing
	}
	n = copy(p, s.come)
	s.come = s.come[n:]
	return n, nil
}

func (s *stream) write(p []byte) error {
	_, err := s.from.Write(p)
	return err
}

func (s *stream) look() {}

func (s *stream) canAsk() bool { return false }
