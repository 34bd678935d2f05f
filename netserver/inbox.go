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
	large int   // the frame's size, if it is a large one; else 0
	claim claim // for rest, but for the little that each connection may keep

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
		if c.end == nil {
			c.arm() // nobody may have logged in
		}
		return
	}
	if in == &w.inbox {
		in = new(inbox)
		*in = w.inbox
		c.inbox = in
	}
	if in.large == 0 {
		c.keep(w)
	}
	c.await()
}

// freeRest is how much of a frame a connection may keep without a claim. A login is less, and most requests are.
const freeRest = 512

// keep puts what the workspace has of a small frame into rest. Where there is no memory for that, it refuses the frame.
func (c *conn) keep(w *workspace) {
	in, n := c.inbox, w.n
	if n > cap(in.rest) {
		c.inbox.free(c.server)
		size := freeRest / 4
		for size < n {
			size *= 2
		}
		if size > freeRest {
			claim, ok := c.server.claim(size)
			if !ok {
				in.refuse(protocol.ParseHeader(w.in[:]), n, errNoRoom)
				in.rest, w.n = nil, 0
				return
			}
			in.claim = claim
		}
		in.rest = make([]byte, 0, size)
	}
	in.rest = append(in.rest[:0], w.in[:n]...)
}

// refuse has the frame with this header, of which so many bytes have come, read away and answered with refusal.
func (in *inbox) refuse(h protocol.Header, come int, refusal *protocol.Error) {
	in.header, in.refusal = h, refusal
	in.skip, in.skipped = h.Size()-come, come
}

// drop forgets the frame in rest.
func (in *inbox) drop(s *Server) {
	in.free(s)
	in.rest, in.large = nil, 0
}

// free gives back what was claimed for rest, and a large frame's buffer.
func (in *inbox) free(s *Server) {
	if in.claim > 0 {
		if in.large > 0 {
			giveBuffer(in.rest)
		}
		s.release(in.claim)
		in.claim = 0
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
	switch {
	case c.lapsed():
		c.stop(errLapsed)
		return
	case !c.loginBy.IsZero() && c.late(time.Now()): // who never stops asking is never waited for
		c.stop(errNoLogin)
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
	in.drop(c.server) // what was kept of it, or of one before it
	in.large = size
	in.rest = w.in[:w.n:w.n]
	w.n = 0
	c.grow()
}

// grow makes more room for a large frame: see nextBuffer. Where there is no memory for that, it refuses the frame and returns
// false.
func (c *conn) grow() bool {
	in := c.inbox
	size := nextBuffer(in.large, len(in.rest))
	more, ok := c.server.claim(size)
	if !ok {
		in.refuse(protocol.ParseHeader(in.rest), len(in.rest), errNoRoom)
		in.drop(c.server)
		return false
	}
	rest := append(takeBuffer(size), in.rest...)
	in.free(c.server)
	in.rest, in.claim = rest, more
	return true
}
