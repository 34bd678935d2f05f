package netserver

import "time"

// inbox has what has come on a connection and is not used yet: the beginning of a request that is not whole, or
// whatever came with the last read. Who drives it reads to where space says, says so with arrived, looks at bytes if
// that is ready, and says with use how many of them are done with, and with require how many there must be before it is
// worth to look again.
//
// While the connection reads, the bytes are in a window, which is lent to the inbox: a request that is longer than that
// gets a buffer of its own, which grows with what arrives, at most doubling. While the connection waits there is no
// window; then close has moved what little there is of a short request to a buffer of its size. What may grow with what
// a client sends is claimed from memory.
//
// An inbox knows no protocol.
type inbox struct {
	memory *pool
	window []byte // lent between open and close
	from   int    // window[from:to] is what has come,
	to     int    // unless there is a large request,
	kept   []byte // which is here alone; or the inbox is closed, and everything is
	large  bool
	claim  int64 // for kept, but for the little that each connection may keep

	need   int  // how many bytes there must be before it is worth to look
	skip   int  // how many bytes are to be thrown away as they come
	resume bool // all that was to be thrown away has come

	// Of the request that has not come whole: how many bytes of it were thrown away, and when, as Server.age has it,
	// the connection first waited for the rest; 0: it did not.
	skipped int
	began   time.Duration
}

// pooledShare is what part of the memory of all requests a buffer may have to be used again: those that lie there for that
// are not claimed, and few that are longer would be as much as all that is.
const pooledShare = 8

// freeRest is how much of a request a connection may keep without a claim. A login is less, and most requests are.
const freeRest = 512

// unfinished reports whether part of a request has come, and not all of it.
func (in *inbox) unfinished() bool { return in.skip > 0 || in.need > 0 || len(in.bytes()) > 0 }

// bytes returns what there is, in order.
func (in *inbox) bytes() []byte {
	if in.large || in.window == nil {
		return in.kept
	}
	return in.window[in.from:in.to]
}

// open lends window, which is not shorter than before, to the inbox.
func (in *inbox) open(window []byte) {
	in.window, in.from, in.to = window, 0, 0
	if !in.large {
		in.to = copy(window, in.kept)
	}
}

// close ends the loan of the window. It returns false if there is no memory to keep what is there: then everything is as it was.
func (in *inbox) close() bool {
	if !in.large {
		rest := in.window[in.from:in.to]
		if len(rest) > cap(in.kept) && !in.keep(len(rest)) {
			return false
		}
		in.kept = append(in.kept[:0], rest...)
	}
	in.window = nil
	return true
}

// keep makes kept large enough for n bytes of a short request.
func (in *inbox) keep(n int) bool {
	in.drop()
	size := freeRest / 4
	for size < n {
		size *= 2
	}
	if size > freeRest {
		if !in.memory.take(int64(size)) {
			return false
		}
		in.claim = int64(size)
	}
	in.kept = make([]byte, 0, size)
	return true
}

// drop gives kept back.
func (in *inbox) drop() {
	if in.claim > 0 {
		if in.large && int64(cap(in.kept)) <= in.memory.limit/pooledShare {
			giveBuffer(in.kept)
		}
		in.memory.give(in.claim)
		in.claim = 0
	}
	in.kept, in.large = nil, false
}

// space is where the next bytes are to be read to. It returns nil if there is no memory for more of the request that is there.
func (in *inbox) space() []byte {
	if !in.large {
		return in.window[in.to:]
	}
	if len(in.kept) == cap(in.kept) && !in.grow() {
		return nil
	}
	// What comes behind the request has to find room in the window.
	return in.kept[len(in.kept):min(cap(in.kept), max(in.need, len(in.kept))+len(in.window))]
}

// arrived says that n bytes were read to where space said.
func (in *inbox) arrived(n int) {
	if in.large {
		in.kept = in.kept[:len(in.kept)+n]
		return
	}
	in.to += n
	if in.skip > 0 {
		k := min(in.skip, in.to-in.from)
		in.from, in.skip, in.skipped = in.from+k, in.skip-k, in.skipped+k
		if in.skip > 0 {
			in.from, in.to = 0, 0
		}
		in.resume = in.skip == 0
	}
}

// ready reports whether it is worth to look at bytes: so many are there as were required; or, though there may be none,
// all that was to be thrown away has come.
func (in *inbox) ready() bool { return in.resume || in.skip == 0 && len(in.bytes()) >= max(in.need, 1) }

// use takes n bytes away; if that is more than there are, as many as are missing are thrown away when they come.
// finished says that they end the request that was waited for, if there was one.
func (in *inbox) use(n int, finished bool) {
	in.resume, in.need = false, 0
	if finished {
		in.began, in.skipped = 0, 0
	}
	p := in.bytes()
	if n > len(p) {
		in.skip = n - len(p)
		n = len(p)
	}
	if !finished || in.skip > 0 {
		in.skipped += n
	}
	rest := p[n:]
	switch {
	case !in.large:
		in.from, in.to = 0, copy(in.window, rest)
		if in.skip > 0 {
			in.drop()
		}
	case len(rest) > len(in.window):
		in.kept = in.kept[:copy(in.kept, rest)]
	default:
		in.from, in.to = 0, copy(in.window, rest)
		in.drop()
	}
}

// require says that n bytes must be there, counted from the first that is not used, before it is worth to look at them; 0: it is
// not known. It returns false if there is no memory for so many.
func (in *inbox) require(n int) bool {
	in.need = n
	if in.large || in.skip > 0 {
		return true
	}
	if n <= len(in.window) && in.to < len(in.window) {
		return true
	}
	in.drop() // what was kept of it, or of one before it, is in the window
	in.kept, in.large = in.window[in.from:in.to:in.to], true
	if !in.grow() {
		in.kept, in.large = nil, false
		return false
	}
	in.from, in.to = 0, 0
	return true
}

// grow makes more room for a large request: see nextBuffer. It returns false if there is no memory for that.
func (in *inbox) grow() bool {
	size := nextBuffer(max(in.need, len(in.kept)+1), len(in.kept))
	if !in.memory.take(int64(size)) {
		return false
	}
	kept := append(takeBuffer(size), in.kept...)
	if in.claim > 0 {
		in.drop()
	}
	in.kept, in.large, in.claim = kept, true, int64(size)
	return true
}

// extra is how much longer than FrameTimeout the request may take, for what has come of it.
func (in *inbox) extra() time.Duration {
	return AtMinRate(int64(len(in.bytes()) + in.skipped))
}
