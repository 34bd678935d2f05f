package netserver

import (
	"errors"
	"fmt"
	"net"
	"time"

	"kv/protocol"
	"kv/store"
)

// What a connection holds in order to answer: a workspace, and the long answers that are on their way. A long value is not
// copied but sent out of its entry, which lives until it is sent, even if the key gets another value meanwhile; and so do all
// entries of an answer of many keys. A client that does not read keeps all that for as long as it is waited for. So it is
// taken from Config.OutputMemory before it is used, and no connection may have more than Config.ClientOutput of it.
//
// When it is short, who needs some of it waits, and the connection is cut off that has waited longest for its client.

const (
	// minOutputMemory and minClientOutput are the least that a server works with.
	minOutputMemory = 4 * workspaceMemory
	minClientOutput = 64 << 10
	// answerExtra is at most what the answer that has a value holds beyond the length of the request that set it.
	answerExtra = 128

	// cutAfter is how long a client may keep a connection waiting, at the least, before it is cut off for want of memory.
	cutAfter = 250 * time.Millisecond
	// cutAnyAfter is how long memory may be waited for before somebody is cut off who does take what he is sent.
	cutAnyAfter = time.Second
	// outputPatience is how long an answer waits for memory before it is refused instead. The slow have been cut off by then.
	outputPatience = 5 * time.Second
	// outputLook is how long a wait for memory lasts before it looks again who may be cut off.
	outputLook = 50 * time.Millisecond
)

// hold takes n bytes of output memory for the connection. If they are not there it waits, for so long or, if that is 0,
// until the server is cut off; and returns false if they did not come.
func (c *conn) hold(n int64, patience time.Duration) bool {
	s := c.server
	if !s.output.take(n) && !s.awaitOutput(n, patience) {
		return false
	}
	c.held.Store(c.held.Load() + n)
	return true
}

// tryHold is hold without waiting.
func (c *conn) tryHold(n int64) bool {
	if !c.server.output.take(n) {
		return false
	}
	c.held.Store(c.held.Load() + n)
	return true
}

// letGo gives back n bytes that the connection holds.
func (c *conn) letGo(n int64) {
	if n != 0 {
		c.held.Store(c.held.Load() - n)
		c.server.output.give(n)
	}
}

func (s *Server) awaitOutput(n int64, patience time.Duration) bool {
	return s.output.await(n, outputLook, func(waited time.Duration) bool {
		s.cutOffSlowest(waited >= cutAnyAfter)
		return !s.cut.Load() && (patience == 0 || waited < patience)
	})
}

// cutOffSlowest cuts off the connection that has waited longest for its client to take what it is sent, less what that has made
// good by taking some, if there is one that has waited for cutAfter. If there is none, and anyone may be cut off, it is the one
// whose answer has been on its way for longest.
func (s *Server) cutOffSlowest(anyone bool) {
	if !s.cutting.TryLock() {
		return // somebody else is at it
	}
	defer s.cutting.Unlock()
	now := time.Now().UnixNano()
	slowest, since := s.longest(now-int64(cutAfter), func(c *conn) int64 { return c.patient.waiting.Load() })
	if slowest == nil && anyone {
		slowest, since = s.longest(now-int64(cutAnyAfter), func(c *conn) int64 { return c.patient.began.Load() })
	}
	if slowest == nil {
		return
	}
	slowest.cutOff.Store(true)
	s.cutOffs.Add(1)
	s.complain(&s.complaints.cutOff, slowest.nc, "closing the slowest connection: there is no memory for answers that are not read",
		"held_bytes", slowest.held.Load(), "waited", time.Duration(now-since).Round(time.Millisecond).String())
	nc := slowest.patient.Conn
	if t, ok := nc.(*net.TCPConn); ok {
		t.SetLinger(0) // what the system still has to send goes, too
	}
	go nc.Close() // may wait, as in Shutdown
}

// promise takes memory for the answer to a request that is executed, which is going to hold n bytes until it is sent, unless
// that much is promised already. It waits for nothing. The error is the request's, or errNotHeld: see holdAnswer.
func (c *conn) promise(w *workspace, h protocol.Header, n int64) error {
	if limit := c.server.config.ClientOutput; n > limit {
		return tooMuchOutput(h.Opcode, n, limit)
	}
	more := n - w.promised
	if more <= 0 {
		return nil
	}
	if w.held+more > c.server.config.ClientOutput || !c.tryHold(more) {
		return errNotHeld
	}
	w.held += more
	w.promised = n
	return nil
}

// errNotHeld says that the answers before have to be sent first, or that memory has to be waited for.
var errNotHeld = errors.New("no memory for the answer at once")

// longest returns the connection with the earliest time before limit, among those that hold something and wait for their
// client.
func (s *Server) longest(limit int64, since func(*conn) int64) (longest *conn, earliest int64) {
	earliest = limit
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if t := since(c); t != 0 && t < earliest && c.patient.waiting.Load() != 0 && c.held.Load() > 0 && !c.cutOff.Load() {
			longest, earliest = c, t
		}
	}
	return longest, earliest
}

// holdAnswer is promise, but does what has to be done first.
func (c *conn) holdAnswer(w *workspace, h protocol.Header, n int64) error {
	err := c.promise(w, h, n)
	if err != errNotHeld {
		return err
	}
	if !c.flush(w) { // lets go of what is held for the answers before
		return errAnswered
	}
	more := n - w.promised
	if !c.hold(more, c.server.config.patience) {
		return errNoOutput
	}
	w.held += more
	w.promised = n
	return nil
}

// bodyHolds is how much an answer with a body of size bytes holds, made of entries that take so much besides their values. A
// short one is copied, and holds no more than the workspace has.
func bodyHolds(size int, entries int64) int64 {
	if size < copySize {
		return 0
	}
	return int64(size) + entries
}

// errNoOutput is the answer to a request whose answer could not hold what it needs.
var errNoOutput = &protocol.Error{Status: protocol.StatusOutOfMemory, Message: "no memory for an answer of this size now"}

func tooMuchOutput(op protocol.Opcode, n, limit int64) error {
	return &protocol.Error{Status: protocol.StatusTooLarge, Message: fmt.Sprintf(
		"the answer to %v would take %d bytes until it is sent, and a client may have %d (--max-client-output): ask for less at a time", op, n, limit)}
}

// heldBy is what an entry takes besides its value while an answer holds it.
func heldBy(e *store.Entry) int64 {
	if e == nil {
		return 0
	}
	return int64(len(e.Key())) + entryOverhead
}

// entryOverhead is about what an entry has besides its key and its value.
const entryOverhead = 32
