package netserver

import (
	"net"
	"sync"
	"time"

	"kv/protocol"
	"kv/store"
)

const (
	workspaceSize = 32 << 10
	// flushSize is how many bytes of answers are collected before they are sent, where there is memory for that; else
	// copySize is.
	flushSize = 64 << 10
	// copySize is the length from which a value is sent straight out of its entry, not copied first.
	copySize = 16 << 10
	// narrow and wide are how many bytes of answers a workspace has room for: what is collected, and one more value with its
	// header.
	narrow = 2*copySize + 1<<10
	wide   = flushSize + copySize + 1<<10
	// keepItems is how long a list a workspace keeps for its next user.
	keepItems = 128
	// workspaceMemory is what a workspace holds while it is used, its lists at their longest.
	workspaceMemory = workspaceSize + narrow + keepItems*160
)

// workspace is what a connection needs while it reads and answers, and gives back before it waits.
type workspace struct {
	in [workspaceSize]byte
	n  int // bytes of in that are filled
	// inbox is the connection's while it has no unfinished frame to keep.
	inbox inbox
	out   answers

	receipt receipt // of the last read from a socket

	// The frames that are being answered; those from batch[from:at] have answers in out, which no flush covers yet.
	batch    []byte
	from, at int
	inPieces bool // an answer is being sent piece by piece; its request is flushed

	// How many of them no flush covers yet, and when the first began to be answered, since the server started.
	requests uint64
	began    time.Duration
	narrow   []byte // the buffer for answers, while out has a wide one; else nil
	// held is what the connection holds for the answers in out, for the one that is sent in pieces, and for the one that is being
	// made: of that, promised.
	held, promised int64

	// Lists that requests are parsed into and answered from.
	keys    [][]byte
	wire    []protocol.Pair
	pairs   []store.Pair
	entries []*store.Entry
}

var workspaces = sync.Pool{New: func() any {
	return &workspace{out: answers{buf: make([]byte, 0, narrow)}}
}}

var wideBuffers = sync.Pool{New: func() any { b := make([]byte, 0, wide); return &b }}

// takeWorkspace waits until there is memory for a workspace. It returns nil if the connection has to end instead.
func (c *conn) takeWorkspace() *workspace {
	if !c.hold(workspaceMemory, 0) {
		c.stop(errDrained)
		return nil
	}
	return workspaces.Get().(*workspace)
}

// giveWorkspace returns w to the pool. What it points to would otherwise live as long as it does.
func (c *conn) giveWorkspace(w *workspace) {
	w.n, w.batch, w.from, w.at, w.inPieces, w.requests = 0, nil, 0, 0, false, 0
	w.out.reset()
	c.unpromise(w)
	c.answersSent(w)
	if w.narrow != nil {
		if b := w.out.buf; cap(b) == wide {
			wideBuffers.Put(&b)
		}
		w.out.buf, w.narrow = w.narrow[:0], nil
		c.letGo(wide)
	}
	if cap(w.out.buf) > narrow {
		w.out.buf = make([]byte, 0, narrow)
	}
	w.clearLists()
	workspaces.Put(w)
	c.letGo(workspaceMemory)
}

// full reports whether so many answers are collected that they are to be sent. The first time it finds more room for them, if
// there is memory for that.
func (c *conn) full(w *workspace) bool {
	if w.out.size() < copySize {
		return false
	}
	return w.out.size() >= flushSize || len(w.out.buf) >= copySize && !c.widen(w)
}

// widen gives w room for more answers. It returns false if there is no memory for that.
func (c *conn) widen(w *workspace) bool {
	if w.narrow == nil {
		if !c.tryHold(wide) {
			return false
		}
		w.narrow = w.out.buf
		w.out.buf = append((*wideBuffers.Get().(*[]byte))[:0], w.out.buf...)
	}
	return true
}

// takes reports whether an answer with a body of size bytes finds room behind those that are collected.
func (c *conn) takes(w *workspace, size int) bool {
	if size < copySize {
		return true
	}
	return len(w.out.buf)+size+protocol.HeaderSize <= wide && c.widen(w)
}

// answersSent lets go of what was held for answers that are sent.
func (c *conn) answersSent(w *workspace) {
	c.letGo(w.held - w.promised)
	w.held = w.promised
	if c.patient.began.Load() != 0 {
		c.patient.began.Store(0)
	}
}

// unpromise lets go of what was held for an answer that is not made after all.
func (c *conn) unpromise(w *workspace) {
	c.letGo(w.promised)
	w.held -= w.promised
	w.promised = 0
}

func (w *workspace) clearLists() {
	w.keys, w.wire, w.pairs, w.entries = cleared(w.keys), cleared(w.wire), cleared(w.pairs), cleared(w.entries)
}

// makeLists makes the lists of a request with n keys, each at once as long as it gets.
func (w *workspace) makeLists(op protocol.Opcode, n int) {
	switch op {
	case protocol.OpMGet:
		w.keys, w.entries = make([][]byte, 0, n), make([]*store.Entry, 0, n)
	case protocol.OpDel:
		w.keys = make([][]byte, 0, n)
	case protocol.OpMSet:
		w.wire, w.pairs = make([]protocol.Pair, 0, n), make([]store.Pair, 0, n)
	}
}

// cleared returns an empty list that holds on to nothing.
func cleared[T any](list []T) []T {
	if cap(list) > keepItems {
		return nil
	}
	clear(list)
	return list[:0]
}

// answers are the bytes to be sent next.
type answers struct {
	buf  []byte      // headers and what is copied behind them
	list net.Buffers // if not empty: pieces of buf and long values between them, in order
	cut  int         // buf[:cut] is in list
	long int         // bytes of the long values in list
}

func (a *answers) size() int { return len(a.buf) + a.long }

// value appends v, which must stay as it is until it is sent.
func (a *answers) value(v []byte) {
	if len(v) < copySize {
		a.buf = append(a.buf, v...)
		return
	}
	a.cutOff()
	a.list = append(a.list, v)
	a.long += len(v)
}

// cutOff moves what buf has since the last long value to the list. Should buf move when it grows, the list keeps the old
// bytes, which no one changes.
func (a *answers) cutOff() {
	if a.cut < len(a.buf) {
		a.list = append(a.list, a.buf[a.cut:])
		a.cut = len(a.buf)
	}
}

func (a *answers) reset() {
	clear(a.list[:cap(a.list)])
	a.buf, a.list, a.cut, a.long = a.buf[:0], a.list[:0], 0, 0
}
