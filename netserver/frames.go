package netserver

import (
	"encoding/binary"

	"kv/protocol"
)

// frames is the talk in kv frames.
type frames struct {
	conn *conn
	// A frame that is being read away, and its answer, which is due when all of it has come; nil: there is none.
	header  protocol.Header
	refusal *protocol.Error
}

// Answer answers every whole frame of p. A frame that is refused for its header is read away; bytes that can't be a frame end the
// connection.
func (f *frames) Answer(o *Output, p []byte) (used, need int) {
	c := f.conn
	w := c.work
	if f.refusal != nil {
		f.answerRefused(o)
	}
	w.batch, w.at = p, 0
	if c.server.turnsAway() {
		return f.refuseAll(o, p, errEnding, c.endingWrite())
	}
	c.warm(w)
	if c.server.config.Store.Proposes() {
		return f.answerRuns(o, p)
	}
	return f.answerAll(o, p)
}

// answerAll is Answer from w.at on.
func (f *frames) answerAll(o *Output, p []byte) (used, need int) {
	c := f.conn
	w := c.work
	for c.end == nil && len(p)-w.at >= 4 {
		rest := p[w.at:]
		if err := protocol.CheckLength(binary.BigEndian.Uint32(rest)); err != nil {
			o.Foreign(rest, err)
			return w.at, 0
		}
		if len(rest) < protocol.HeaderSize {
			return w.at, protocol.HeaderSize
		}
		if c.gets(w, o, rest) > 0 {
			continue
		}
		h := protocol.ParseHeader(rest)
		size := h.Size()
		if h.Length > c.limit || len(rest) < size {
			if err := c.unwanted(h); err != nil {
				f.header, f.refusal = h, Failure(err)
				if len(rest) < size {
					return w.at + size, 0
				}
				w.at += size
				f.answerRefused(o)
				continue
			}
			return w.at, size
		}
		w.at += size
		o.Request()
		c.answer(w, h, rest[protocol.HeaderSize:size])
		o.Finish()
		if o.Full() {
			o.Flush()
		}
	}
	return w.at, 0
}

// answerRefused answers the frame that was read away.
func (f *frames) answerRefused(o *Output) {
	o.Request()
	f.conn.refuse(f.conn.work, f.header, f.refusal)
	f.refusal = nil
	o.Flush() // it may not be in the batch: see Unflushed
}

// Refuse has the frame at the start of p read away.
func (f *frames) Refuse(_ *Output, p []byte, err error) (used, need int) {
	f.header, f.refusal = protocol.ParseHeader(p), Failure(err)
	return f.header.Size(), 0
}

// errBehindWrite is the answer to a read that came together with writes of which none was applied: it may have seen them.
var errBehindWrite = &protocol.Error{Status: protocol.StatusUnavailable, Message: "this node leads no more, and the writes before were not applied: read again"}

// Unflushed answers the last n frames that have begun to be answered.
func (f *frames) Unflushed(o *Output, n int, err error) {
	w := f.conn.work
	batch, e := w.batch[:w.at], Failure(err)
	for p := batch; len(p) > 0; p = p[protocol.ParseHeader(p).Size():] {
		n--
	}
	for p := batch; len(p) > 0; n++ { // n is now how many of them are flushed, negated
		h := protocol.ParseHeader(p)
		switch {
		case n < 0:
		case e.Status == protocol.StatusMoved && !h.Opcode.Writes():
			f.conn.refuse(w, h, errBehindWrite)
		default:
			f.conn.refuse(w, h, e)
		}
		p = p[h.Size():]
	}
}

// Close has nothing to do.
func (f *frames) Close() {}

// unwanted returns why a frame that has not come, or not whole, need not be kept: it is over the client's limit, or is
// refused whatever its body is.
func (c *conn) unwanted(h protocol.Header) error {
	if h.Length > c.server.config.Limit {
		return refusalf(protocol.StatusTooLarge, "a request of length %d: this server takes %d at most", h.Length, c.server.config.Limit)
	}
	if err := c.check(h); err != nil {
		return err
	}
	if h.Length > c.limit {
		return refusalf(protocol.StatusTooLarge, "a request of length %d: before a login it may have %d at most", h.Length, c.limit)
	}
	return nil
}
