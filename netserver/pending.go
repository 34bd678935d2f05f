package netserver

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Where the answer to a write waits for a disk, its connection's goroutine need not: it would be waked to do nothing but to
// send a few bytes, and then wait for the client. So it leaves the answer here, gives its workspace back, and waits for the
// client at once; who makes the write durable sends the answer. That is for the case in which nothing can go wrong any
// more, and which is by far the most frequent: one answer in a kv frame, a socket without TLS that takes it, a write that is
// durable. Everything else is the goroutine's: it is waked, and goes on as if it had waited.
//
// There is one pending answer of a connection at most, and nothing is answered behind it: before the goroutine answers
// anything, or ends the connection, it reclaims the answer. Until then the session, and what is counted of the connection,
// is not its own.

// maxPending is how long a pending answer may be: those of all requests that write one key, or a few, are shorter.
const maxPending = 64

// pending is an answer that waits for its write to be durable. The goroutine makes it; from Await on it is whoever's who
// calls Happened, until that says over done what has become of it.
type pending struct {
	conn   *conn
	socket syscall.RawConn
	answer []byte        // what is not sent yet, of one frame
	began  time.Duration // as Output's
	safe   bool          // what it tells is durable
	back   atomic.Bool   // the goroutine has to see to it; set before that is waked
	done   chan bool     // of capacity 1: whether it is sent
	write  func(fd uintptr)
	room   [maxPending]byte
}

var pendings = sync.Pool{New: func() any {
	p := &pending{done: make(chan bool, 1)}
	p.write = p.writeTo
	return p
}}

// postpone leaves the answer that is collected to be sent once it may be. It returns false if it is to be flushed instead.
func (o *Output) postpone() bool {
	c := o.conn
	if c.talk != &c.frames || c.solo || c.end != nil || o.ending != nil || c.server.draining.Load() ||
		o.requests != 1 || len(o.list) > 0 || o.held > 0 || len(o.Buf) == 0 || len(o.Buf) > maxPending || !c.session.Waits() {
		return false
	}
	socket := c.transport.lend()
	if socket == nil {
		return false
	}
	p := pendings.Get().(*pending)
	p.conn, p.socket, p.began, p.safe = c, socket, o.began, false
	p.back.Store(false)
	p.answer = append(p.room[:0], o.Buf...)
	c.pending = p
	if !c.session.Await(p) {
		c.pending = nil
		p.give()
		return false
	}
	o.requests = 0
	o.reset()
	return true
}

// Happened is part of store.Waiter: it sends the answer, or has the connection's goroutine do it.
func (p *pending) Happened() {
	c := p.conn
	if p.safe = c.session.TryFlush(); p.safe {
		c.latency.add(1, c.server.age()-p.began)
		c.bytesOut.Store(c.bytesOut.Load() + uint64(len(p.answer)))
		_ = p.socket.Control(p.write) // where that fails, the goroutine sees why
		if len(p.answer) == 0 {
			p.done <- true
			return
		}
	}
	p.back.Store(true)
	c.wake() // before it goes on, which may set other deadlines
	p.done <- false
}

func (p *pending) writeTo(fd uintptr) {
	n, _ := writeFD(int(fd), p.answer)
	p.answer = p.answer[n:]
}

// reclaim makes sure that nothing is pending: it waits for that, and does what is left to be done.
func (c *conn) reclaim() {
	p := c.pending
	if p == nil {
		return
	}
	sent := <-p.done
	c.pending = nil
	switch {
	case sent:
	case p.safe:
		if err := c.transport.write(p.answer); err != nil {
			c.stop(err)
		}
		c.began.Store(0)
	default:
		c.answerPending(p)
	}
	p.give()
}

// answerPending flushes a pending answer as if it had just been made.
func (c *conn) answerPending(p *pending) {
	w := c.work
	if w == nil {
		if w = c.takeWorkspace(); w == nil {
			return
		}
		defer c.giveWorkspace(w)
	}
	o := &w.out
	o.Buf = append(o.Buf[:0], p.answer...)
	o.requests, o.began = 1, p.began
	w.batch, w.at = p.answer, len(p.answer) // it names the request as that itself did
	o.Flush()
	w.batch, w.at = nil, 0
}

// give returns p to the pool.
func (p *pending) give() {
	p.conn, p.socket, p.answer = nil, nil, nil
	pendings.Put(p)
}
