package netserver

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"kv/protocol"
)

const (
	// flushSize is how many bytes of answers are collected before they are sent, where there is memory for that; else
	// CopySize is.
	flushSize = 64 << 10
	// CopySize is the length, in bytes, from which a value is sent straight out of where it lies, not copied first.
	CopySize = 16 << 10
	// narrow and wide are how many bytes of answers an Output has room for: what is collected, and one more value with its
	// header.
	narrow = 2*CopySize + 1<<10
	wide   = flushSize + CopySize + 1<<10
)

// Output collects the answers to what has come on a connection, and sends them. It is there while there is something to
// answer, and the connection's goroutine's alone.
//
// An answer shorter than CopySize is appended to Buf. One that may be longer begins with Begin, which takes the memory
// for it, and is made of what is appended to Buf and the pieces behind it. Whoever has answered a request asks Full.
type Output struct {
	// Buf is what is to be sent next, and grows at its end alone. It has room for CopySize bytes more whenever Full was
	// asked, if it said yes Flush called, since something was appended.
	Buf  []byte
	list net.Buffers // if not empty: pieces of Buf and long values between them, in order
	cut  int         // Buf[:cut] is in list
	long int         // bytes of the long values in list

	conn     *conn // whose it is
	inPieces bool  // an answer is being sent piece by piece; its request is flushed

	// requests is how many have begun to be answered that no flush covers yet, and began when the first of them was,
	// since the server started.
	requests uint64
	began    time.Duration
	begun    bool   // a request has begun since the connection looked
	ending   error  // not nil: the connection is to end
	narrow   []byte // the buffer for answers, while Buf is a wide one; else nil
	kept     []byte // Buf as it was before Start made another for a long answer; else nil
	// held is what the connection holds for the answers that are collected, for the one that is sent in pieces, and for
	// the one that is being made: of that, promised.
	held, promised int64
}

var wideBuffers = sync.Pool{New: func() any { b := make([]byte, 0, wide); return &b }}

// ErrAnswered says that a request has had its answer already.
var ErrAnswered = errors.New("answered")

// ErrNotHeld says that the answers before have to be sent first, or that memory has to be waited for.
var ErrNotHeld = errors.New("no memory for the answer at once")

// Request says that a request begins to be answered. Each has exactly one answer.
func (o *Output) Request() {
	if o.requests == 0 {
		o.began, o.begun = o.conn.server.age(), true
	}
	o.requests++
}

// Refused counts a request that is answered with this status.
func (o *Output) Refused(status protocol.Status) { o.conn.server.count(status) }

// Value appends v, which must stay as it is until it is sent: it is copied only if it is shorter than CopySize.
func (o *Output) Value(v []byte) {
	if len(v) < CopySize {
		o.Buf = append(o.Buf, v...)
		return
	}
	o.cutOff()
	o.list = append(o.list, v)
	o.long += len(v)
}

// Piece is Value within an answer that Begin began.
func (o *Output) Piece(v []byte) {
	o.Value(v)
	if o.inPieces && o.Full() {
		o.send()
	}
}

// Promise takes memory for the answer to a request that is executed, which is going to be size bytes long and to keep
// held bytes alive besides until it is sent, unless that much is promised already. It waits for nothing, so it may be
// called with locks held; what can be refused, is refused here. The error is a *protocol.Error, or ErrNotHeld: then
// Hold does it, without locks. What is promised to a request that Begin does not follow for, Drop gives back.
func (o *Output) Promise(what string, size int, held int64) error {
	return o.promise(what, outputOf(size, held))
}

func (o *Output) promise(what string, n int64) error {
	limit := o.conn.server.config.ClientOutput
	if n > limit {
		return tooMuchOutput(what, n, limit)
	}
	more := n - o.promised
	if more <= 0 {
		return nil
	}
	if o.held+more > limit || !o.conn.tryHold(more) {
		return ErrNotHeld
	}
	o.held += more
	o.promised = n
	return nil
}

// Hold is Promise, but does what has to be done first: it sends the answers before, and waits. The error may then be ErrAnswered.
func (o *Output) Hold(what string, size int, held int64) error {
	return o.hold(what, outputOf(size, held))
}

func (o *Output) hold(what string, n int64) error {
	err := o.promise(what, n)
	if err != ErrNotHeld {
		return err
	}
	if !o.flush(1) { // lets go of what is held for the answers before
		return ErrAnswered
	}
	more := n - o.promised
	if !o.conn.hold(context.Background(), more, o.conn.server.config.patience) {
		return errNoOutput
	}
	o.held += more
	o.promised = n
	return nil
}

// Drop gives back what was promised to an answer that is not made after all.
func (o *Output) Drop() {
	if o.promised > 0 {
		o.conn.letGo(o.promised)
		o.held -= o.promised
		o.promised = 0
	}
}

// Begin starts an answer of size bytes, its header aside, that keeps held bytes alive besides until it is sent: those
// of entries, beyond their values. The error is as Hold's. One that is sent in pieces has its request flushed first:
// once its beginning has left it can't be taken back.
func (o *Output) Begin(what string, size int, held int64) error {
	if err := o.hold(what, outputOf(size, held)); err != nil {
		return err
	}
	if !o.takes(size) {
		if !o.flush(0) {
			return ErrAnswered
		}
		o.inPieces = true
	}
	o.promised = 0 // it is made
	return nil
}

// Start starts an answer for whose size Promise was called. So many bytes of it, its header aside, are appended to Buf;
// the rest are values, from CopySize on, that are sent from where they lie. It waits for nothing and sends nothing.
func (o *Output) Start(copied int) {
	if o.promised = 0; o.takes(copied) { // it is made
		return
	}
	o.cutOff()
	o.long += len(o.Buf)
	o.kept, o.Buf, o.cut = o.Buf, make([]byte, 0, copied+protocol.HeaderSize), 0
}

// BeginValue is Begin for an answer that is one value, at least CopySize long, and its header: that is never copied.
func (o *Output) BeginValue(what string, size int, held int64) error {
	if err := o.hold(what, int64(size)+held); err != nil {
		return err
	}
	o.promised = 0 // it is made
	return nil
}

// outputOf is how much an answer of size bytes holds, made of entries that take so much besides their values. A short
// one is copied, and holds no more than the workspace has.
func outputOf(size int, entries int64) int64 {
	if size < CopySize {
		return 0
	}
	return int64(size) + entries
}

// Full reports whether so many answers are collected that they are to be sent. The first time it finds more room for them, if
// there is memory for that.
func (o *Output) Full() bool {
	if o.conn.solo || o.kept != nil {
		return true
	}
	if o.size() < CopySize {
		return false
	}
	return o.size() >= flushSize || len(o.Buf) >= CopySize && !o.widen()
}

// Solo reports whether each request has to be flushed by itself, so that what it has seen is not laid to another.
func (o *Output) Solo() bool { return o.conn.solo }

// Flush makes sure that what the answers tell can't be taken back, and sends them. If it can't, it has the connection's protocol
// answer the requests that they belong to UNAVAILABLE instead, and returns false.
func (o *Output) Flush() bool { return o.flush(0) }

// flush is Flush while so many requests, 0 or 1, have begun that have no answer yet. If it returns false they have.
func (o *Output) flush(unanswered uint64) bool {
	c := o.conn
	err := c.session.Flush()
	if err != nil {
		// A journal that failed stays failed, so from now on each request is flushed by itself: then what is read of what is
		// durable may leave. Where the store is one of several, what failed is this batch: leadership was lost, say.
		c.solo = !c.server.config.Store.Proposes()
		o.reset()
		c.talk.Unflushed(o, int(o.requests), err)
		unanswered = 0
	}
	if n := o.requests - unanswered; n > 0 {
		c.latency.add(n, c.server.age()-o.began)
		o.requests = unanswered
	}
	o.send()
	return err == nil
}

// send sends the answers. If that fails it ends the connection.
func (o *Output) send() {
	if o.size() > 0 && o.conn.end == nil {
		o.sendAll()
	}
	o.reset()
	if !o.inPieces {
		o.sent()
	}
}

func (o *Output) sendAll() {
	c := o.conn
	c.bytesOut.Store(c.bytesOut.Load() + uint64(o.size()))
	var err error
	if len(o.list) == 0 {
		err = c.transport.write(o.Buf)
	} else {
		o.cutOff()
		err = c.transport.writeList(o.list)
	}
	if err != nil {
		c.stop(err)
	}
}

// sent lets go of what was held for answers that are sent.
func (o *Output) sent() {
	c := o.conn
	c.letGo(o.held - o.promised)
	o.held = o.promised
	if c.began.Load() != 0 {
		c.began.Store(0)
	}
}

// Finish ends an answer that Begin began. What is left of one that is sent in pieces is sent.
func (o *Output) Finish() {
	if o.inPieces {
		o.inPieces = false
		o.send()
	}
}

// takes reports whether an answer of size bytes finds room behind those that are collected.
func (o *Output) takes(size int) bool {
	if size < CopySize {
		return true
	}
	return len(o.Buf)+size+protocol.HeaderSize <= wide && o.widen()
}

// widen makes room for more answers. It returns false if there is no memory for that.
func (o *Output) widen() bool {
	if o.narrow == nil {
		if !o.conn.tryHold(wide) {
			return false
		}
		o.narrow = o.Buf
		o.Buf = append((*wideBuffers.Get().(*[]byte))[:0], o.Buf...)
	}
	return true
}

// close gives back what the connection has for answers.
func (o *Output) close() {
	o.inPieces, o.requests, o.ending = false, 0, nil
	o.reset()
	o.Drop()
	o.sent()
	if o.narrow != nil {
		if b := o.Buf; cap(b) == wide {
			wideBuffers.Put(&b)
		}
		o.Buf, o.narrow = o.narrow[:0], nil
		o.conn.letGo(wide)
	}
	if cap(o.Buf) > narrow {
		o.Buf = make([]byte, 0, narrow)
	}
	o.conn = nil
}

// size is how many bytes are to be sent.
func (o *Output) size() int { return len(o.Buf) + o.long }

// cutOff moves what Buf has since the last long value to the list. Should Buf move when it grows, the list keeps the old
// bytes, which no one changes.
func (o *Output) cutOff() {
	if o.cut < len(o.Buf) {
		o.list = append(o.list, o.Buf[o.cut:])
		o.cut = len(o.Buf)
	}
}

func (o *Output) reset() {
	clear(o.list[:cap(o.list)])
	if o.kept != nil {
		o.Buf, o.kept = o.kept, nil
	}
	o.Buf, o.list, o.cut, o.long = o.Buf[:0], o.list[:0], 0, 0
}
