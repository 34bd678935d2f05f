package netserver

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"kv/protocol"
)

// conn is one connection. Its own goroutine runs serve and is the only one to touch it, but for what is said below.
type conn struct {
	Client

	// Fixed before the goroutine starts. Others may call nc.SetReadDeadline and close the accepted connection.
	nc         net.Conn        // what requests come from and answers go to: patient, or TLS over it
	patient    patient         // over the accepted connection
	raw        syscall.RawConn // the socket, where nc is no more than that; nil: requests are read as a stream
	onReadable func(fd uintptr) bool

	// The goroutine's alone.
	work  *workspace // while there is something to read or to answer; else nil
	fd    int        // the socket, while onReadable runs; -1: it is not at hand
	end   error      // not nil: the connection has ended, with this
	final bool       // the server drains, and this connection has been told
	solo  bool       // flushing failed once: answer request by request
	sent  bool       // an answer was sent since the last read
	inbox *inbox     // an unfinished frame; nil: there is none
	armed time.Time  // the read deadline that arm has set; zero: none

	// Written by the goroutine alone, read by anyone.
	bytesIn, bytesOut atomic.Uint64

	// The server's, guarded by its mutex: how many bytes had come when it looked last, and whether it had the connection
	// settle since.
	lastIn  uint64
	settled bool
}

// Why a connection ended, where it is not an error of the network.
var (
	errDrained   = errors.New("the server is shutting down")
	errSlowFrame = errors.New("a frame took too long to arrive")
	errSlowRead  = errors.New("the client does not read its answers")
	errNoLogin   = errors.New("nobody logged in")
	errGuessing  = errors.New("too many logins failed")
	errLapsed    = errors.New("the user was removed or changed")
)

const (
	// lingerTime is how long a connection that the server ends is still read from, and what comes thrown away: closing a
	// socket with unread bytes in it would take back answers that are on their way.
	lingerTime = time.Second
	// finalRead is how long a draining stream is read from; it can't be asked whether something has arrived.
	finalRead = 100 * time.Millisecond
)

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{fd: -1, patient: patient{Conn: nc, timeout: s.config.WriteTimeout}}
	c.patient.client = &c.Client
	c.nc = &c.patient
	if s.config.TLS != nil {
		c.nc = tls.Server(&c.patient, s.config.TLS)
	} else {
		c.raw = rawConn(nc)
	}
	c.onReadable = c.readable
	c.enter(s, nc.RemoteAddr(), c)
	return c
}

// cut breaks the connection off.
func (c *conn) cut() {
	nc := c.patient.Conn
	if t, ok := nc.(*net.TCPConn); ok {
		t.SetLinger(0) // what the system still has to send goes, too
	}
	go nc.Close() // may wait, as in Shutdown
}

// serve runs the connection's whole life.
func (c *conn) serve() {
	if t, ok := c.nc.(*tls.Conn); ok {
		if err := c.handshake(t); err != nil {
			if !c.server.draining.Load() {
				c.server.handshakeFailures.Add(1)
				c.server.complain(&c.server.complaints.handshake, c.remote, "TLS handshake failed", "error", err)
			}
			c.patient.Conn.Close()
			c.server.forget(c)
			return
		}
	}
	c.session = c.server.config.Store.Session()
	c.arm()
	c.live()
}

// live runs the connection until it has ended. When it has nothing to do for a while it goes on in a new goroutine: a stack
// that has grown while requests were answered never gets as small again as a new one is.
func (c *conn) live() {
	c.run()
	if c.end == nil {
		go c.live()
		return
	}
	if c.inbox != nil { // it ended while it waited for the rest of a frame
		c.inbox.drop(c.server)
	}
	c.giveBack()
	c.session.Close()
	c.ended()
	c.nc.Close()
	c.server.forget(c)
}

func (c *conn) handshake(t *tls.Conn) error {
	t.SetReadDeadline(time.Now().Add(c.server.config.FrameTimeout))
	if c.server.draining.Load() { // looked at after the deadline is set: see Server.draining
		return errDrained
	}
	if err := t.Handshake(); err != nil {
		return err
	}
	return t.SetReadDeadline(time.Time{})
}

// run reads and answers until the connection has ended, or is to settle. It keeps the stack shallow for the wait, which is
// most of the connection's life.
func (c *conn) run() {
	if c.raw == nil {
		c.runStream()
		return
	}
	for c.end == nil {
		if err := c.raw.Read(c.onReadable); err != nil && c.waited(err) {
			return
		}
	}
}

// readable reads what has come, answers it, and returns false to wait for more; true: the connection has ended. It goes
// on until nothing is left that the socket has been woken for, because the next wake-up is for what comes after that.
func (c *conn) readable(fd uintptr) bool {
	w := c.takeWorkspace()
	if w == nil {
		return true
	}
	defer c.giveWorkspace(w)
	c.fd = int(fd)
	c.unpark(w)
	for c.end == nil {
		p := c.space(w)
		draining := c.server.draining.Load()
		c.sent = false
		n, drained, err := readFD(c.fd, p, &w.receipt)
		switch {
		case n > 0:
			c.arrived(w, n)
			switch {
			case draining && (n < len(p) || c.server.cut.Load()):
				c.stop(errDrained) // all that had arrived is answered
			case drained && c.sent && c.end == nil && c.rest(w):
				return false
			}
		case err == nil:
			c.stop(io.EOF)
		case errors.Is(err, syscall.EAGAIN):
			if c.rest(w) {
				return false
			}
			c.stop(errDrained)
		default:
			c.stop(err)
		}
	}
	c.fd = -1
	c.park(w)
	return true
}

// rest prepares for the wait. It returns false if there is to be none, because the server drains or the connection has
// ended: it looks after the deadline is set, see Server.draining.
//
// It may be called after a read that found nothing; or, to save that read, after one that left nothing, if an answer was
// sent since. A reset that came with the bytes that were read is not among what is left, and wakes nobody again; but
// sending then fails.
func (c *conn) rest(w *workspace) bool {
	c.park(w)
	if c.lapsed() {
		c.stop(errLapsed)
	}
	if c.end != nil || c.server.draining.Load() {
		c.unpark(w)
		return false
	}
	c.fd = -1
	return true
}

// runStream is run for a connection that can't be asked whether a read would wait. It waits with room for a header alone,
// which never takes more than the next request has, and takes a workspace once something has come.
func (c *conn) runStream() {
	head := make([]byte, protocol.HeaderSize)
	for c.end == nil {
		// Looked at after deadlines are set: see Server.draining.
		if c.server.draining.Load() && !c.final {
			c.waited(os.ErrDeadlineExceeded)
		}
		p := head[:min(len(head), c.inbox.missing())]
		if c.lapsed() {
			c.stop(errLapsed)
			return
		}
		n, err := c.nc.Read(p)
		w := c.takeWorkspace()
		if w == nil {
			return
		}
		c.unpark(w)
		copy(c.space(w), p[:n])
		for n > 0 {
			c.arrived(w, n)
			// A full read may have left something behind; and what is unfinished is on its way.
			if err != nil || c.end != nil || n < len(p) || !c.inbox.pending(w) {
				break
			}
			c.await()
			if c.server.draining.Load() && !c.final || c.lapsed() { // as above
				break
			}
			p = c.space(w)
			n, err = c.nc.Read(p)
		}
		c.park(w)
		c.giveWorkspace(w)
		if err != nil && c.end == nil && c.waited(err) {
			return
		}
	}
}

// stop ends the connection; the first reason counts.
func (c *conn) stop(err error) {
	if c.end == nil {
		c.end = err
	}
}

// wake makes a connection that waits look up. Any goroutine may call it.
func (c *conn) wake() { c.nc.SetReadDeadline(time.Unix(1, 0)) }

// waited decides what the error that ended a wait means. It returns true if the connection is to settle.
func (c *conn) waited(err error) (settle bool) {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		c.stop(err)
		return false
	}
	c.armed = time.Time{}
	if c.server.draining.Load() {
		// One last look at what has arrived.
		if c.final {
			c.stop(errDrained)
			return false
		}
		c.final = true
		var until time.Time
		if c.raw == nil {
			until = time.Now().Add(finalRead)
		}
		c.nc.SetReadDeadline(until)
		return false
	}
	due := c.due()
	if due.IsZero() {
		c.nc.SetReadDeadline(time.Time{})
		return true
	}
	if now := time.Now(); !now.Before(due) {
		if c.late(now) {
			c.stop(errNoLogin)
		}
		c.stop(errSlowFrame)
		return false
	}
	c.arm()
	return false
}

// due is when the connection ends if it is still waiting for the same then; zero: it may wait for ever.
func (c *conn) due() time.Time {
	due := c.loginBy
	if c.inbox != nil && !c.inbox.began.IsZero() {
		whole := c.inbox.began.Add(c.server.config.FrameTimeout + c.inbox.extra())
		if due.IsZero() || whole.Before(due) {
			due = whole
		}
	}
	return due
}

// await notes that the rest of a frame is waited for, and until when.
func (c *conn) await() {
	if c.inbox.began.IsZero() {
		c.inbox.began = time.Now()
	}
	c.arm()
}

// arm makes sure that the wait ends when it is due, if not before. A deadline that is set already, for what has come since,
// does as well: when it has passed, waited looks what is due, and sets the next. So there is one for each FrameTimeout, not
// for each frame.
func (c *conn) arm() {
	due := c.due()
	if due.IsZero() || c.final || !c.armed.IsZero() && !due.Before(c.armed) {
		return
	}
	c.armed = due
	c.nc.SetReadDeadline(due)
}

// ended logs why the connection has ended and makes sure that what was sent can arrive.
func (c *conn) ended() {
	s := c.server
	c.patient.timeout = min(c.patient.timeout, lingerTime) // for TLS, which says goodbye
	var bad *notAFrameError
	switch {
	case c.cutOff.Load():
		s.config.Logger.Debug("connection closed for want of memory", "error", c.end, "remote", c.Remote())
		return
	case errors.As(c.end, &bad):
		s.complain(&s.complaints.foreign, c.remote, "closing a connection that does not speak the kv protocol",
			"looks_like", bad.looksLike, "error", c.end)
	case errors.Is(c.end, errSlowFrame), errors.Is(c.end, errSlowRead):
		s.complain(&s.complaints.slow, c.remote, "closing a slow connection", "error", c.end)
	case errors.Is(c.end, errNoLogin):
		s.complain(&s.complaints.noLogin, c.remote, "closing a connection that did not log in", "error", c.end)
	case errors.Is(c.end, errGuessing):
		s.complain(&s.complaints.guessing, c.remote, "closing a connection that logged in wrongly", "failed", c.wrong, "error", c.end)
	case errors.Is(c.end, errLapsed):
		s.config.Logger.Info("closing a user's connection", "user", c.login.user, "error", c.end, "remote", c.Remote())
	case errors.Is(c.end, errDrained):
	default:
		s.config.Logger.Debug("connection closed", "error", c.end, "remote", c.Remote())
		return
	}
	if errors.Is(c.end, errSlowRead) {
		c.patient.Conn.Close() // without TLS's goodbye, which would wait like the rest
		return
	}
	if t, ok := c.nc.(*tls.Conn); ok {
		t.CloseWrite()
	}
	linger(c.patient.Conn)
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
