package netserver

import (
	"errors"
	"fmt"

	"kv/protocol"
	"kv/store"
)

// warm has the store fetch what the single-key requests of the batch will touch.
func (c *conn) warm(w *workspace) {
	p := w.batch
	if c.Access() == AccessNone || len(p) < protocol.HeaderSize || protocol.ParseHeader(p).Size() >= len(p) {
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

// check returns why a request with this header is refused whatever its body is. The order is the protocol's.
func (c *conn) check(h protocol.Header) error {
	switch {
	case h.Reserved != 0:
		return refusalf(protocol.StatusBadRequest, "the reserved bytes are 0x%04x, not 0", h.Reserved)
	case !h.Opcode.Known():
		return refusalf(protocol.StatusUnknownOpcode, "no %v in protocol version %d", h.Opcode, protocol.Version)
	case c.access < accessNeeded(h.Opcode):
		return c.Denied(h.Opcode.String())
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
	w.out.Drop()
	if err != nil && err != ErrAnswered {
		c.refuse(w, h, Failure(err))
	}
}

// refuse appends the answer e to a request, and counts it.
func (c *conn) refuse(w *workspace, h protocol.Header, e *protocol.Error) {
	w.out.Buf = appendRefusal(w.out.Buf, h.Opcode, h.ID, e)
	c.server.count(e.Status)
}

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

// Failure returns what a client is told of an error of the store's, or of anything that a request needs. An error that is one
// already it returns as it is.
func Failure(err error) *protocol.Error {
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
