package netserver

import (
	"math"
	"time"

	"kv/protocol"
)

// inbox is what a connection keeps of a frame that has not come whole. A connection that waits between two frames has none;
// while there is a workspace, a frame that fits into it is in there instead.
//
// A frame is in one of three states: small, in rest or the workspace; large, in rest alone, which grows with what arrives
// up to the frame's size; or refused, and what is left of it is read away.
type inbox struct {
	rest  []byte
	large int // the frame's size, if it is a large one; else 0
	claim claim

	skip    int             // bytes of a refused frame that are still to come
	skipped int             // bytes of it that have come
	header  protocol.Header // its header
	refusal *protocol.Error // its answer, due when all of it has come

	began time.Time // when the connection first waited for the rest of this frame; zero: it did not
}

// extra is how much longer than FrameTimeout the frame may take, for what has come of it.
func (in *inbox) extra() time.Duration {
	return time.Duration(len(in.rest)+in.skipped) * time.Second / minRate
}

// missing is how many bytes may be read without touching what comes after a large frame.
func (in *inbox) missing() int {
	if in != nil && in.large > 0 {
		return in.large - len(in.rest)
	}
	return math.MaxInt
}

// pending reports whether part of a frame has come.
func (in *inbox) pending(w *workspace) bool { return w.n > 0 || in.large > 0 || in.skip > 0 }

// unpark puts what the connection kept into the workspace.
func (c *conn) unpark(w *workspace) {
	if c.inbox == nil {
		w.inbox = inbox{}
		c.inbox = &w.inbox
		return
	}
	if c.inbox.large == 0 {
		w.n = copy(w.in[:], c.inbox.rest)
	}
}

// park keeps what the workspace has of an unfinished frame, before the workspace goes back, and sees to the frame's deadline.
func (c *conn) park(w *workspace) {
	in := c.inbox
	if pending := in.pending(w); !pending || c.end != nil {
		in.drop(c.server)
		c.inbox = nil
		return
	}
	if in == &w.inbox {
		in = new(inbox)
		*in = w.inbox
		c.inbox = in
	}
	if in.large == 0 {
		in.rest = append(in.rest[:0], w.in[:w.n]...)
	}
	c.await()
}

// drop forgets the frame in rest.
func (in *inbox) drop(s *Server) {
	in.free(s)
	in.rest, in.large = nil, 0
}

// free gives a large frame's buffer back, and what was claimed for it.
func (in *inbox) free(s *Server) {
	if in.claim.bytes > 0 {
		giveBuffer(in.rest)
		s.release(in.claim)
		in.claim = claim{}
	}
}

// finished notes that the frame that was waited for has come.
func (in *inbox) finished() { in.began = time.Time{} }

// space is where the next bytes are to be read to.
func (c *conn) space(w *workspace) []byte {
	in := c.inbox
	if in.large == 0 {
		return w.in[w.n:]
	}
	if len(in.rest) == cap(in.rest) && !c.grow() {
		return w.in[:]
	}
	return in.rest[len(in.rest):min(cap(in.rest), in.large)]
}

// arrived takes n bytes that were read to where space said, and answers every frame that is whole now.
func (c *conn) arrived(w *workspace, n int) {
	c.bytesIn.Store(c.bytesIn.Load() + uint64(n))
	if c.lapsed() {
		c.stop(errLapsed)
		return
	}
	in := c.inbox
	if in.large > 0 {
		in.rest = in.rest[:len(in.rest)+n]
		if len(in.rest) == in.large {
			in.finished()
			c.answer(w, in.rest)
			in.drop(c.server)
		}
		return
	}
	w.n += n
	used := 0
	for c.end == nil && used < w.n {
		if in.skip > 0 {
			k := min(in.skip, w.n-used)
			in.skip, in.skipped, used = in.skip-k, in.skipped+k, used+k
			if in.skip > 0 {
				break
			}
			c.refused(w)
		}
		k := c.answer(w, w.in[used:w.n])
		used += k
		if k > 0 {
			in.finished()
		}
		if in.skip == 0 {
			break
		}
	}
	w.n = copy(w.in[:], w.in[used:w.n])
	if c.end == nil && w.n >= protocol.HeaderSize {
		c.large(w)
	}
}

// large moves a frame that the workspace has no room for to a buffer of its own.
func (c *conn) large(w *workspace) {
	in := c.inbox
	size := protocol.ParseHeader(w.in[:]).Size()
	if size <= len(w.in) {
		return
	}
	in.large = size
	in.rest = w.in[:w.n:w.n]
	w.n = 0
	c.grow()
}

// grow makes more room for a large frame: twice what has come, or what it needs. Where there is no memory for that, it
// refuses the frame and returns false.
func (c *conn) grow() bool {
	in := c.inbox
	h := protocol.ParseHeader(in.rest)
	size := bufferSize(min(max(2*len(in.rest), 2*workspaceSize), in.large))
	// In the end there is a buffer for all of it, in place of the one so far, and what the store keeps.
	all := bufferSize(in.large)
	whole := all - int(in.claim.bytes) + in.large
	var more claim
	ok := int64(all) <= c.server.config.RequestMemory
	if ok {
		more, ok = c.server.claim(h.Opcode, size, whole)
	}
	if !ok {
		in.header, in.refusal = h, errNoRoom
		in.skip, in.skipped = in.large-len(in.rest), len(in.rest)
		in.drop(c.server)
		return false
	}
	rest := append(takeBuffer(size), in.rest...)
	in.free(c.server)
	in.rest, in.claim = rest, more
	return true
}
