package netserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"kv/protocol"
	"kv/store"
)

// notAFrameError ends a connection: what came can't be a frame.
type notAFrameError struct {
	looksLike string
	err       error
}

func (e *notAFrameError) Error() string { return e.err.Error() }
func (e *notAFrameError) Unwrap() error { return e.err }

// answer answers every whole frame at the start of p, sends the answers, and returns how many bytes of p it is done with.
// A frame over the limit stops it, with the inbox set to read the frame away; bytes that can't be a frame end the
// connection.
func (c *conn) answer(w *workspace, p []byte) int {
	w.batch, w.from, w.at = p, 0, 0
	c.warm(w)
	for c.end == nil && len(p)-w.at >= 4 {
		rest := p[w.at:]
		if err := protocol.CheckLength(binary.BigEndian.Uint32(rest)); err != nil {
			c.flush(w)
			c.stop(&notAFrameError{foreign(rest), err})
			return w.at
		}
		if len(rest) < protocol.HeaderSize {
			break
		}
		h := protocol.ParseHeader(rest)
		if h.Length > c.limit {
			c.refuseFrame(h)
			break
		}
		size := h.Size()
		if len(rest) < size {
			break
		}
		w.at += size
		if w.requests == 0 {
			w.began = c.server.age()
		}
		w.requests++
		c.request(w, h, rest[protocol.HeaderSize:size])
		if w.inPieces {
			w.inPieces = false
			c.send(w)
		}
		if c.solo || c.full(w) {
			c.flush(w)
		}
	}
	if w.out.size() > 0 {
		c.flush(w)
	}
	return w.at
}

// warm has the store fetch what the single-key requests of the batch will touch.
func (c *conn) warm(w *workspace) {
	p := w.batch
	if c.access == accessNone || len(p) < protocol.HeaderSize || protocol.ParseHeader(p).Size() >= len(p) {
		return // one request at most
	}
	keys := w.keys[:0]
	for len(p) >= protocol.HeaderSize {
		h := protocol.ParseHeader(p)
		if h.Length > c.limit || h.Size() > len(p) || protocol.CheckLength(h.Length) != nil {
			break
		}
		if key, ok := singleKey(h, p[protocol.HeaderSize:h.Size()]); ok {
			keys = append(keys, key)
		}
		if len(keys) == keepItems {
			c.session.Warm(keys)
			keys = keys[:0]
		}
		p = p[h.Size():]
	}
	if len(keys) > 1 {
		c.session.Warm(keys)
	}
	w.keys = keys
}

// singleKey returns the key of a request that has exactly one; what its body is like otherwise is looked at later.
func singleKey(h protocol.Header, body []byte) (key []byte, ok bool) {
	switch h.Opcode {
	case protocol.OpGet:
		return body, h.Flags&protocol.FlagAtVersion == 0
	case protocol.OpSet:
		q, err := protocol.ParseSet(h.Flags, body)
		return q.Key, err == nil
	case protocol.OpIncr:
		q, err := protocol.ParseIncr(h.Flags, body)
		return q.Key, err == nil
	case protocol.OpExpire:
		q, err := protocol.ParseExpire(h.Flags, body)
		return q.Key, err == nil
	case protocol.OpPersist:
		q, err := protocol.ParsePersist(h.Flags, body)
		return q.Key, err == nil
	}
	return nil, false
}

// refuseFrame has a frame over the connection's limit read away.
func (c *conn) refuseFrame(h protocol.Header) {
	var err error
	if h.Length <= c.server.config.Limit { // nobody has logged in
		err = c.check(h)
	}
	if err == nil {
		limit := "this server takes"
		if c.limit < c.server.config.Limit {
			limit = "before a login it may have"
		}
		err = refusalf(protocol.StatusTooLarge, "a request of length %d: %s %d at most", h.Length, limit, c.limit)
	}
	c.inbox.refuse(h, 0, failure(err))
}

// refused answers a refused frame, all of which has come.
func (c *conn) refused(w *workspace) {
	in := c.inbox
	c.refuse(w, in.header, in.refusal)
	c.latency.add(1, 0)
	in.skipped, in.refusal = 0, nil
	in.finished()
	c.send(w)
}

// flush makes sure that what the answers tell can't be taken back, and sends them. If it can't, it answers the requests
// that they belong to UNAVAILABLE instead, and returns false.
func (c *conn) flush(w *workspace) bool {
	err := c.session.Flush()
	if err != nil {
		c.unflushed(w, err)
	}
	if w.requests > 0 {
		c.latency.add(w.requests, c.server.age()-w.began)
		w.requests = 0
	}
	w.from = w.at
	c.send(w)
	return err == nil
}

// unflushed replaces the answers that flushing failed for. A journal that failed stays failed, so from now on each request
// is flushed by itself: then what is read of what is durable may leave.
func (c *conn) unflushed(w *workspace, err error) {
	w.out.reset()
	e := failure(err)
	for p := w.batch[w.from:w.at]; len(p) > 0; {
		h := protocol.ParseHeader(p)
		c.refuse(w, h, e)
		p = p[h.Size():]
	}
	c.solo = true
}

// send sends the answers. If that fails it ends the connection.
func (c *conn) send(w *workspace) {
	out := &w.out
	if out.size() > 0 && c.end == nil {
		c.sendAll(out)
	}
	out.reset()
	if !w.inPieces {
		c.answersSent(w)
	}
}

func (c *conn) sendAll(out *answers) {
	c.bytesOut.Store(c.bytesOut.Load() + uint64(out.size()))
	var err error
	if len(out.list) == 0 {
		err = c.write(out.buf)
	} else {
		out.cutOff()
		err = c.writeList(out.list)
	}
	if err != nil {
		c.stop(err)
	}
	c.sent = true
}

// write sends p: at once, if the socket takes it.
func (c *conn) write(p []byte) error {
	if c.fd >= 0 {
		n, err := writeFD(c.fd, p)
		if n == len(p) || err != nil {
			return err
		}
		p = p[n:]
	}
	_, err := c.nc.Write(p)
	return err
}

// writeList sends the pieces in list.
func (c *conn) writeList(list net.Buffers) error {
	if c.nc == &c.patient { // not TLS
		return c.patient.writeBuffers(&list)
	}
	_, err := list.WriteTo(c.nc)
	return err
}

// check returns why a request with this header is refused whatever its body is. The order is the protocol's.
func (c *conn) check(h protocol.Header) error {
	switch {
	case h.Reserved != 0:
		return refusalf(protocol.StatusBadRequest, "the reserved bytes are 0x%04x, not 0", h.Reserved)
	case !h.Opcode.Known():
		return refusalf(protocol.StatusUnknownOpcode, "no %v in protocol version %d", h.Opcode, protocol.Version)
	case c.access < accessNeeded(h.Opcode):
		return c.denied(h.Opcode)
	case !h.Opcode.AllowsFlags(h.Flags):
		return refusalf(protocol.StatusBadRequest, "%v with unknown flags 0x%02x", h.Opcode, h.Flags)
	}
	return nil
}

// request answers one request.
func (c *conn) request(w *workspace, h protocol.Header, body []byte) {
	err := c.check(h)
	switch {
	case err != nil:
	case len(body) > 4*keepItems:
		var lists claim
		if lists, err = c.server.claimItems(w, h.Opcode, body); err == nil {
			err = c.execute(w, h, body)
			w.clearLists()
			c.server.release(lists)
		}
	default:
		err = c.execute(w, h, body)
	}
	if w.promised > 0 {
		c.unpromise(w)
	}
	if err != nil && err != errAnswered {
		c.refuse(w, h, failure(err))
	}
}

// refuse appends the answer e to a request, and counts it.
func (c *conn) refuse(w *workspace, h protocol.Header, e *protocol.Error) {
	w.out.buf = appendRefusal(w.out.buf, h.Opcode, h.ID, e)
	c.server.answered[e.Status].Add(1)
}

// errAnswered says that a request has had its answer already.
var errAnswered = errors.New("answered")

// execute runs a request that passed all checks but that of its body. It either appends the answer or returns an error.
func (c *conn) execute(w *workspace, h protocol.Header, body []byte) error {
	switch h.Opcode {
	case protocol.OpGet:
		return c.get(w, h, body)
	case protocol.OpSet:
		return c.set(w, h, body)
	case protocol.OpDel:
		return c.del(w, h, body)
	case protocol.OpMGet:
		return c.mget(w, h, body)
	case protocol.OpMSet:
		return c.mset(w, h, body)
	case protocol.OpTxn:
		return c.txn(w, h, body)
	case protocol.OpStats:
		return c.stats(w, h, body)
	case protocol.OpPing:
		return c.ping(w, h, body)
	case protocol.OpHello:
		return c.hello(w, h, body)
	case protocol.OpScan:
		return c.scan(w, h, body)
	case protocol.OpHistory:
		return c.history(w, h, body)
	case protocol.OpRollback:
		return c.rollback(w, h, body)
	case protocol.OpPurge:
		return c.purge(w, h, body)
	case protocol.OpIncr:
		return c.incr(w, h, body)
	case protocol.OpExpire:
		return c.expire(w, h, body)
	case protocol.OpPersist:
		return c.persist(w, h, body)
	case protocol.OpSnapshot:
		return c.snapshot(w, h, body)
	case protocol.OpBackup:
		return c.backup(w, h, body)
	}
	return refusalf(protocol.StatusUnknownOpcode, "%v is not served", h.Opcode)
}

func refusalf(status protocol.Status, format string, args ...any) error {
	return &protocol.Error{Status: status, Message: fmt.Sprintf(format, args...)}
}

// failure returns what the client is told of err.
func failure(err error) *protocol.Error {
	var refusal *protocol.Error
	if errors.As(err, &refusal) {
		return refusal
	}
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		return &protocol.Error{Status: protocol.StatusConflict, Version: conflict.Version, Index: conflict.Index}
	}
	if errors.Is(err, store.ErrNoVersion) {
		return notKept(!errors.Is(err, store.ErrNoHistory))
	}
	for _, f := range failures {
		if errors.Is(err, f.err) {
			return &protocol.Error{Status: f.status, Message: err.Error()}
		}
	}
	return &protocol.Error{Status: protocol.StatusInternal, Message: err.Error()}
}

// notKept is the answer where a version is not kept. Where none but the current ones are, it says so.
func notKept(history bool) *protocol.Error {
	if history {
		return protocol.ErrNotFound
	}
	return &protocol.Error{
		Status:  protocol.StatusNotFound,
		Message: "no history is kept here: the server's option --history says how many earlier versions are",
	}
}

var failures = []struct {
	err    error
	status protocol.Status
}{
	{store.ErrOutOfMemory, protocol.StatusOutOfMemory},
	{store.ErrReadOnly, protocol.StatusUnavailable},
	{store.ErrTooLarge, protocol.StatusTooLarge},
	{store.ErrStaleCursor, protocol.StatusBadRequest},
	{store.ErrNotANumber, protocol.StatusBadRequest},
	{store.ErrOverflow, protocol.StatusBadRequest},
}
