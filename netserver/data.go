package netserver

import (
	"cmp"
	"errors"
	"slices"

	"kv/protocol"
	"kv/store"
)

// The requests that read and write keys.

func (c *conn) get(w *workspace, h protocol.Header, body []byte) error {
	q := protocol.Get{Key: body}
	if h.Flags != 0 {
		var err error
		if q, err = protocol.ParseGet(h.Flags, body); err != nil {
			return err
		}
	}
	if q.AtVersion != 0 {
		e := c.session.GetVersion(q.Key, q.AtVersion)
		if e == nil {
			return notKept(c.server.config.Store.KeepsHistory())
		}
		return c.appendEntry(w, h, e, q.WithMeta)
	}
	v := c.session.View()
	e := v.Get(q.Key)
	switch {
	case !e.Exists():
		v.Close()
		if h.Flags != 0 {
			return protocol.ErrNotFound
		}
		w.out.Buf = protocol.AppendHeader(w.out.Buf, protocol.OpGet, uint8(protocol.StatusNotFound), h.ID, 0)
		return nil
	case e.Len() >= CopySize:
		large := v.Entry(e)
		v.Close() // memory may have to be waited for
		return c.appendEntry(w, h, large, q.WithMeta)
	}
	size := e.Len()
	if q.WithMeta {
		size += protocol.MetaSize
	}
	w.out.Buf = protocol.AppendHeader(w.out.Buf, h.Opcode, uint8(protocol.StatusOK), h.ID, size)
	if q.WithMeta {
		w.out.Buf = protocol.AppendMeta(w.out.Buf, protocol.Meta{Version: e.Version(), Expiry: e.Expiry()})
	}
	w.out.Buf = append(w.out.Buf, e.Value()...)
	v.Close()
	return nil
}

// manyGets is how many GETs are looked up together, at most.
const manyGets = 16

// gets answers the plain GETs that p begins with, as far as they are whole and their answers short, if there are two at
// least. It returns how many it has answered. They are looked up side by side, in one view, and in their order.
func (c *conn) gets(w *workspace, o *Output, p []byte) (answered int) {
	if c.access < AccessRead || o.Solo() {
		return 0
	}
	var ids [manyGets]uint32
	keys := w.keys[:0]
	for len(keys) < manyGets && len(p) >= protocol.HeaderSize {
		size, id, plain := protocol.PlainGet(p)
		if !plain || size > len(p) || size > protocol.SizeOf(c.limit) {
			break
		}
		ids[len(keys)] = id
		keys = append(keys, p[protocol.HeaderSize:size])
		p = p[size:]
	}
	if w.keys = keys; len(keys) < 2 {
		return 0
	}
	w.found = slices.Grow(w.found[:0], manyGets)[:len(keys)]
	defer clear(w.found)
	v := c.session.View()
	v.Peek(w.found, keys)
	full := false
	for i, e := range w.found {
		if e.Exists() && e.Len() >= CopySize {
			break // by itself: memory may have to be waited for
		}
		w.at += protocol.HeaderSize + len(keys[i])
		o.Request()
		if e.Exists() {
			o.Buf = protocol.AppendHeader(o.Buf, protocol.OpGet, uint8(protocol.StatusOK), ids[i], e.Len())
			o.Buf = append(o.Buf, e.Value()...)
		} else {
			o.Buf = protocol.AppendHeader(o.Buf, protocol.OpGet, uint8(protocol.StatusNotFound), ids[i], 0)
		}
		answered++
		if full = o.Full(); full {
			break
		}
	}
	v.Count(w.found[:answered])
	v.Close()
	if full {
		o.Flush() // it waits, so no view is open
	}
	return answered
}

// onlyGets reports whether the frames of p are plain GETs, all that are whole.
func onlyGets(p []byte) bool {
	for len(p) >= protocol.HeaderSize {
		size, _, plain := protocol.PlainGet(p)
		if !plain {
			return false
		}
		p = p[min(size, len(p)):]
	}
	return true
}

func (c *conn) appendEntry(w *workspace, h protocol.Header, e *store.Entry, withMeta bool) error {
	v := e.Value()
	size := len(v)
	if withMeta {
		size += protocol.MetaSize
	}
	if !protocol.Fits(size) {
		return tooLarge(h.Opcode)
	}
	if len(v) >= CopySize {
		if err := w.out.BeginValue(h.Opcode.String(), size, heldBy(e)); err != nil {
			return err
		}
	}
	w.out.Buf = protocol.AppendHeader(w.out.Buf, h.Opcode, uint8(protocol.StatusOK), h.ID, size)
	if withMeta {
		w.out.Buf = protocol.AppendMeta(w.out.Buf, meta(e))
	}
	w.out.Value(v)
	return nil
}

func meta(e *store.Entry) protocol.Meta {
	return protocol.Meta{Version: e.Version(), Expiry: e.Expiry()}
}

func tooLarge(op protocol.Opcode) error {
	return refusalf(protocol.StatusTooLarge, "the answer to %v would be longer than a frame can be", op)
}

func (c *conn) set(w *workspace, h protocol.Header, body []byte) error {
	q, err := protocol.ParseSet(h.Flags, body)
	if err != nil {
		return err
	}
	version, err := c.session.Set(q.Key, q.Value, store.SetOptions{Conditional: q.Conditional, IfVersion: q.IfVersion, TTL: q.TTL, ExpireAt: q.ExpireAt})
	if err != nil {
		return err
	}
	w.out.Buf = protocol.AppendVersion(w.out.Buf, h.Opcode, h.ID, version)
	return nil
}

func (c *conn) del(w *workspace, h protocol.Header, body []byte) (err error) {
	if w.keys, err = protocol.ParseKeys(w.keys[:0], body); err != nil {
		return err
	}
	existed, version, err := c.session.Del(w.keys)
	if err != nil {
		return err
	}
	w.out.Buf = protocol.AppendDeleted(w.out.Buf, h.ID, uint32(existed), version)
	return nil
}

func (c *conn) mset(w *workspace, h protocol.Header, body []byte) (err error) {
	if w.wire, err = protocol.ParseMSet(w.wire[:0], body); err != nil {
		return err
	}
	w.pairs = w.pairs[:0]
	for _, p := range w.wire {
		w.pairs = append(w.pairs, store.Pair(p))
	}
	version, err := c.session.MSet(w.pairs)
	if err != nil {
		return err
	}
	w.out.Buf = protocol.AppendVersion(w.out.Buf, h.Opcode, h.ID, version)
	return nil
}

func (c *conn) mget(w *workspace, h protocol.Header, body []byte) (err error) {
	if w.keys, err = protocol.ParseKeys(w.keys[:0], body); err != nil {
		return err
	}
	w.found = slices.Grow(w.found[:0], len(w.keys))[:len(w.keys)]
	defer clear(w.found)
	withMeta := h.Flags&protocol.FlagWithMeta != 0
	var a foundAnswer
	var v store.View
	err = c.withRoom(w, h, func(promise func(size int, held int64) error) (err error) {
		v, err = c.session.MGetView(w.found, w.keys, func(found []store.Found) error {
			a = foundAnswer{size: protocol.MGetHeadSize}
			for _, e := range found {
				a.add(e, withMeta)
			}
			return promise(a.size, a.held)
		})
		return err
	})
	if err != nil {
		return err
	}
	defer v.Close()
	w.out.Start(a.size - a.long)
	w.out.Buf = protocol.AppendMGetHead(w.out.Buf, h.ID, a.size, len(w.found))
	for _, e := range w.found {
		appendFound(&w.out, e, withMeta, 0)
	}
	return nil
}

// foundAnswer is what an answer is made of whose entries are where the store has them. Values from CopySize on are sent
// from there, the others are copied.
type foundAnswer struct {
	size int   // of its body
	long int   // of size, values that are not copied
	held int64 // what entries of such values take besides
}

func (a *foundAnswer) add(e store.Found, withMeta bool) {
	if !e.Exists() {
		a.size += protocol.AbsentSize
		return
	}
	a.size += protocol.ValueSize(e.Len(), withMeta)
	if e.Len() >= CopySize {
		a.long += e.Len()
		a.held += int64(len(e.Key())) + entryOverhead
	}
}

// appendFound appends a value as MGET and TXN have it. version is that of an entry that has none yet.
func appendFound(o *Output, e store.Found, withMeta bool, version uint64) {
	if !e.Exists() {
		o.Buf = protocol.AppendAbsent(o.Buf)
		return
	}
	o.Buf = protocol.AppendValueHead(o.Buf, e.Len(), withMeta, protocol.Meta{Version: cmp.Or(e.Version(), version), Expiry: e.Expiry()})
	o.Value(e.Value())
}

// withRoom runs a request that finds out how long its answer is while it must not wait: it then calls promise, and ends
// with the error of that. Where the answers before have to be sent first, or memory has to be waited for, that is done,
// and it runs again.
func (c *conn) withRoom(w *workspace, h protocol.Header, run func(promise func(size int, held int64) error) error) error {
	what := h.Opcode.String()
	var size int
	var held int64
	promise := func(n int, more int64) error {
		size, held = n, more
		if !protocol.Fits(n) {
			return tooLarge(h.Opcode)
		}
		return w.out.Promise(what, n, more)
	}
	err := run(promise)
	for tries := 0; errors.Is(err, ErrNotHeld); tries++ {
		if tries == 4 {
			return errNoOutput
		}
		if err = w.out.Hold(what, size, held); err == nil {
			err = run(promise)
		}
	}
	return err
}

func (c *conn) txn(w *workspace, h protocol.Header, body []byte) error {
	q, err := protocol.ParseTxn(h.Flags, body)
	if err != nil {
		return err
	}
	conds := make([]store.Condition, len(q.Conditions))
	for i, d := range q.Conditions {
		conds[i] = store.Condition{Key: d.Key, Version: d.Version}
	}
	ops := make([]store.Op, len(q.Ops))
	for i, o := range q.Ops {
		if o.Kind != protocol.TxnGet && c.access < AccessWrite {
			return c.Denied(h.Opcode.String())
		}
		ops[i] = store.Op{Kind: opKinds[o.Kind], Key: o.Key, Value: o.Value, TTL: o.TTL, ExpireAt: o.ExpireAt}
	}
	var a foundAnswer
	var results []store.ViewResult
	var version uint64
	var v store.View
	err = c.withRoom(w, h, func(promise func(size int, held int64) error) (err error) {
		results, version, v, err = c.session.TxnView(results[:0], conds, ops, func(results []store.ViewResult) error {
			a = foundAnswer{size: protocol.TxnHeadSize}
			for i, o := range q.Ops {
				a.size += protocol.TxnResultSize(o.Kind)
				if o.Kind == protocol.TxnGet {
					a.add(results[i].Found, q.WithMeta)
				}
			}
			return promise(a.size, a.held) // afterwards it could not be refused any more
		})
		return err
	})
	if err != nil {
		return err
	}
	defer v.Close()
	w.out.Start(a.size - a.long)
	w.out.Buf = protocol.AppendTxnHead(w.out.Buf, h.ID, a.size, version, len(q.Ops))
	for i, o := range q.Ops {
		switch o.Kind {
		case protocol.TxnGet:
			w.out.Buf = protocol.AppendTxnGet(w.out.Buf)
			appendFound(&w.out, results[i].Found, q.WithMeta, version)
		case protocol.TxnDel:
			w.out.Buf = protocol.AppendTxnDel(w.out.Buf, results[i].Existed)
		default:
			w.out.Buf = protocol.AppendTxnSet(w.out.Buf, o.Kind)
		}
	}
	return nil
}

// opKinds are the kinds of operation as the store knows them.
var opKinds = [...]store.OpKind{
	protocol.TxnGet: store.OpGet, protocol.TxnSet: store.OpSet, protocol.TxnDel: store.OpDel, protocol.TxnSetAt: store.OpSet,
}

// room makes room for an answer with a body of size bytes, made of entries that take so much besides their values: see
// Output.Begin.
func (c *conn) room(w *workspace, h protocol.Header, size int, entries int64) error {
	if !protocol.Fits(size) {
		return tooLarge(h.Opcode)
	}
	return w.out.Begin(h.Opcode.String(), size, entries)
}

// heldBy is what an entry takes besides its value while an answer holds it.
func heldBy(e *store.Entry) int64 {
	if e == nil {
		return 0
	}
	return int64(len(e.Key())) + entryOverhead
}

// entryOverhead is about what an entry has besides its key and its value.
const entryOverhead = 32
