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
	// flushSize is how many bytes of answers are collected before they are sent.
	flushSize = 64 << 10
	// copySize is the length from which a value is sent straight out of its entry, not copied first.
	copySize = 16 << 10
	// keepItems is how long a list a workspace keeps for its next user.
	keepItems = 4 << 10
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

	// Lists that requests are parsed into and answered from.
	keys    [][]byte
	wire    []protocol.Pair
	pairs   []store.Pair
	entries []*store.Entry
}

var workspaces = sync.Pool{New: func() any {
	return &workspace{out: answers{buf: make([]byte, 0, copySize)}}
}}

func takeWorkspace() *workspace { return workspaces.Get().(*workspace) }

// give returns w to the pool. What it points to would otherwise live as long as it does.
func (w *workspace) give() {
	w.n, w.batch, w.from, w.at, w.inPieces, w.requests = 0, nil, 0, 0, false, 0
	w.out.reset()
	if cap(w.out.buf) > 2*flushSize {
		w.out.buf = make([]byte, 0, copySize)
	}
	w.keys, w.wire, w.pairs, w.entries = cleared(w.keys), cleared(w.wire), cleared(w.pairs), cleared(w.entries)
	workspaces.Put(w)
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
