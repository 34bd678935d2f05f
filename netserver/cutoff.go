package netserver

import (
	"context"
	"time"

	"kv/protocol"
)

// What clients hold in order to be answered: connections their workspaces, and all the long answers that are on their
// way. A long value is not copied but sent out of its entry, which lives until it is sent, even if the key gets another
// value meanwhile; and so do all entries of an answer of many keys. A client that does not read keeps all that for as
// long as it is waited for. So it is taken from Config.OutputMemory before it is used, and no client may have more than
// Config.ClientOutput of it.
//
// When it is short, who needs some of it waits, and the client is cut off that has let the server wait longest.

const (
	// minOutputMemory and minClientOutput are the least that a server works with.
	minOutputMemory = 4 * workspaceMemory
	minClientOutput = 64 << 10
	// answerExtra is at most what the answer that has a value holds beyond the length of the request that set it.
	answerExtra = 128

	// cutAfter is how long a client may let the server wait, at the least, before it is cut off for want of memory.
	cutAfter = 250 * time.Millisecond
	// cutAnyAfter is how long memory may be waited for before somebody is cut off who does take what he is sent.
	cutAnyAfter = time.Second
	// outputPatience is how long an answer waits for memory before it is refused instead. The slow have been cut off by then.
	outputPatience = 5 * time.Second
	// outputLook is how long a wait for memory lasts before it looks again who may be cut off.
	outputLook = 50 * time.Millisecond
)

// errNoOutput is the answer to a request whose answer could not hold what it needs.
var errNoOutput = &protocol.Error{Status: protocol.StatusOutOfMemory, Message: "no memory for an answer of this size now"}

// awaitOutput waits for n bytes of output memory, which are then taken, and returns false if they did not come in time.
func (s *Server) awaitOutput(ctx context.Context, n int64, patience time.Duration) bool {
	return s.output.await(n, outputLook, func(waited time.Duration) bool {
		s.cutOffSlowest(waited >= cutAnyAfter)
		return !s.cut.Load() && ctx.Err() == nil && (patience == 0 || waited < patience)
	})
}

// cutOffSlowest cuts off the client that the server has waited longest for to take what it is sent, less what that has
// made good by taking some, if there is one that it has waited for cutAfter. If there is none, and anyone may be cut
// off, it is the one whose answer has been on its way for longest.
func (s *Server) cutOffSlowest(anyone bool) {
	if !s.cutting.TryLock() {
		return // somebody else is at it
	}
	defer s.cutting.Unlock()
	now := time.Now().UnixNano()
	slowest, since := s.longest(now-int64(cutAfter), func(c *Client) int64 { return c.waiting.Load() })
	if slowest == nil && anyone {
		slowest, since = s.longest(now-int64(cutAnyAfter), func(c *Client) int64 { return c.began.Load() })
	}
	if slowest == nil {
		return
	}
	slowest.cutOff.Store(true)
	s.cutOffs.Add(1)
	s.complain(&s.complaints.cutOff, slowest.remote, "closing the slowest connection: there is no memory for answers that are not read",
		"held_bytes", slowest.held.Load(), "waited", time.Duration(now-since).Round(time.Millisecond).String())
	slowest.link.cut()
}

// longest returns the client with the earliest time before limit, among those that hold something and are waited for.
func (s *Server) longest(limit int64, since func(*Client) int64) (longest *Client, earliest int64) {
	earliest = limit
	look := func(c *Client) {
		if t := since(c); t != 0 && t < earliest && c.waiting.Load() != 0 && c.held.Load() > 0 && !c.cutOff.Load() {
			longest, earliest = c, t
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		look(&c.Client)
	}
	for c := range s.entered {
		look(c)
	}
	return longest, earliest
}
