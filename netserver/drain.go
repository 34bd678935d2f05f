package netserver

import (
	"time"

	"kv/protocol"
)

// How connections end when the server does (Shutdown). What has arrived is answered, and no request is left without a word.
//
//   - A client that has asked for it with HELLO is told goodbye, once everything that has come is answered. Answers come in
//     order, so a request without an answer before the goodbye was not applied, and can be sent again elsewhere.
//   - Of any other client it can't be known whether a request is on its way. So its connection is read from until nothing has
//     come for quietTime, and one more look finds nothing: while the server had no processor, something may have come though
//     the time is over. What comes within quietTime of the beginning is answered as always. What comes later is refused, a
//     write to a store that is one of several with who leads now. After leaveTime the connection is closed whatever comes.
//
// HTTP/2's GOAWAY is such a goodbye (RFC 9113, section 6.8).

const (
	// quietTime is how long nothing must come before a connection is closed, and for how long what comes is still answered.
	quietTime = 100 * time.Millisecond
	// leaveTime is the longest that connections are still read from.
	leaveTime = time.Second
)

// errEnding is the answer to a request that comes too late.
var errEnding = &protocol.Error{
	Status:  protocol.StatusUnavailable,
	Message: "the server is shutting down: " + protocol.MessageNothingApplied,
}

// endingWrite is the answer to a write that comes too late.
func (c *conn) endingWrite() *protocol.Error {
	if err := c.session.Moved(); err != nil {
		return Failure(err)
	}
	return errEnding
}

// draining is what connections go by while the server drains. Server.draining publishes it. The first two are times as
// Server.age has them.
type draining struct {
	refuseFrom time.Duration // what comes from then on is refused
	leaveBy    time.Duration // no connection is read from any more
	quiet      time.Duration // see quietTime
}

// drainWithin says how long what is left may take. A Shutdown that has less time than is usual keeps half of it for
// answers that are under way.
func (s *Server) drainWithin(left time.Duration) draining {
	now := s.age()
	return draining{refuseFrom: now + min(quietTime, left/4), leaveBy: now + min(s.leave, left/2), quiet: s.quiet}
}

// turnsAway reports whether what comes now is refused.
func (s *Server) turnsAway() bool { return s.draining.Load() && s.age() >= s.drains.refuseFrom }

// left reports whether the time is over in which a draining connection is read from.
func (s *Server) left() bool { return s.draining.Load() && s.age() >= s.drains.leaveBy }

// leave has the next wait end when nothing has come for quietTime. It is called when nothing is there.
func (c *conn) leave() {
	c.final, c.last = true, false
	c.quiet = min(c.server.age()+c.server.drains.quiet, c.server.drains.leaveBy)
	c.transport.SetReadDeadline(c.server.started.Add(c.quiet))
}

// lookOnce has the next wait end at once, or soon where a look takes a wait. If nothing is there then, the connection is
// closed.
func (c *conn) lookOnce() {
	c.last = true
	if c.transport.canAsk() {
		c.transport.SetReadDeadline(time.Time{})
	} else {
		c.transport.SetReadDeadline(time.Now().Add(quietTime / 10))
	}
}

// asks reports whether a look is enough to know that nothing is left to be answered, because the client is told goodbye.
func (c *conn) asks() bool { return c.goodbye && c.transport.canAsk() }

// sayGoodbye tells a client that has asked for it that the connection ends with the server.
func (c *conn) sayGoodbye() {
	if c.goodbye && c.end == errDrained && !c.server.cut.Load() {
		_ = c.transport.write(appendRefusal(nil, 0, 0, errEnding)) // if that fails, the client finds out by itself
	}
}
