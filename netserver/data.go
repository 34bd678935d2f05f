package netserver

import (
	"encoding/binary"
	"errors"

	"kv/protocol"
	"kv/store"
)

// The requests that read and write keys.

func (c *conn) get(w *workspace, h protocol.Header, body []byte) error {
	if h.Flags == 0 {
		e := c.session.Get(body)
		if e == nil {
			w.out.Buf = protocol.AppendHeader(w.out.Buf, protocol.OpGet, uint8(protocol.StatusNotFound), h.ID, 0)
			return nil
		}
		return c.appendEntry(w, h, e, false)
	}
	q, err := protocol.ParseGet(h.Flags, body)
	if err != nil {
		return err
	}
	var e *store.Entry
	if q.AtVersion != 0 {
		e = c.session.GetVersion(q.Key, q.AtVersion)
	} else {
		e = c.session.Get(q.Key)
	}
	switch {
	case e == nil && q.AtVersion != 0:
		return notKept(c.server.config.Store.KeepsHistory())
	case e == nil:
		return protocol.ErrNotFound
	}
	return c.appendEntry(w, h, e, q.WithMeta)
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
	w.entries = c.session.MGet(w.entries[:0], w.keys)
	withMeta := h.Flags&protocol.FlagWithMeta != 0
	defer clear(w.entries) // they are not to be held longer than the answer
	size, held := 4, int64(0)
	for _, e := range w.entries {
		size += valueSize(e, withMeta)
		held += heldBy(e)
	}
	if err := c.begin(w, h, size, held); err != nil {
		return err
	}
	w.out.Buf = binary.BigEndian.AppendUint32(w.out.Buf, uint32(len(w.entries)))
	for _, e := range w.entries {
		c.appendValue(w, e, withMeta)
	}
	return nil
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
	var size int   // of the answer's body
	var held int64 // by its entries
	run := func() ([]store.Result, uint64, error) {
		return c.session.TxnIf(nil, conds, ops, func(results []store.Result) error {
			size, held = 12, 0
			for i, o := range ops {
				size += 1 + resultSize(o.Kind, results[i], q.WithMeta)
				held += heldBy(results[i].Entry)
			}
			if !protocol.Fits(size) {
				return tooLarge(h.Opcode)
			}
			return w.out.Promise(h.Opcode.String(), size, held) // afterwards it could not be refused any more
		})
	}
	results, version, err := run()
	for tries := 0; errors.Is(err, ErrNotHeld) && tries < 4; tries++ {
		if err = w.out.Hold(h.Opcode.String(), size, held); err == nil {
			results, version, err = run()
		}
	}
	if err != nil {
		return err
	}
	if err := c.begin(w, h, size, held); err != nil {
		return err
	}
	w.out.Buf = binary.BigEndian.AppendUint64(w.out.Buf, version)
	w.out.Buf = binary.BigEndian.AppendUint32(w.out.Buf, uint32(len(ops)))
	for i, o := range ops {
		w.out.Buf = append(w.out.Buf, byte(q.Ops[i].Kind))
		switch o.Kind {
		case store.OpGet:
			c.appendValue(w, results[i].Entry, q.WithMeta)
		case store.OpDel:
			existed := byte(0)
			if results[i].Existed {
				existed = 1
			}
			w.out.Buf = append(w.out.Buf, existed)
		}
	}
	return nil
}

// opKinds are the kinds of operation as the store knows them.
var opKinds = [...]store.OpKind{
	protocol.TxnGet: store.OpGet, protocol.TxnSet: store.OpSet, protocol.TxnDel: store.OpDel, protocol.TxnSetAt: store.OpSet,
}

func resultSize(kind store.OpKind, r store.Result, withMeta bool) int {
	switch kind {
	case store.OpGet:
		return valueSize(r.Entry, withMeta)
	case store.OpDel:
		return 1
	}
	return 0
}

// begin starts an answer with a body of size bytes, made of entries that take so much besides their values: see Output.Begin.
func (c *conn) begin(w *workspace, h protocol.Header, size int, entries int64) error {
	if !protocol.Fits(size) {
		return tooLarge(h.Opcode)
	}
	if err := w.out.Begin(h.Opcode.String(), size, entries); err != nil {
		return err
	}
	w.out.Buf = protocol.AppendHeader(w.out.Buf, h.Opcode, uint8(protocol.StatusOK), h.ID, size)
	return nil
}

// valueSize is how many bytes appendValue appends.
func valueSize(e *store.Entry, withMeta bool) int {
	switch {
	case e == nil:
		return 4
	case withMeta:
		return 4 + protocol.MetaSize + e.Len()
	}
	return 4 + e.Len()
}

// appendValue appends a value as MGET and TXN have it.
func (c *conn) appendValue(w *workspace, e *store.Entry, withMeta bool) {
	if e == nil {
		w.out.Buf = binary.BigEndian.AppendUint32(w.out.Buf, protocol.Absent)
		return
	}
	w.out.Buf = binary.BigEndian.AppendUint32(w.out.Buf, uint32(e.Len()))
	if withMeta {
		w.out.Buf = protocol.AppendMeta(w.out.Buf, meta(e))
	}
	w.out.Piece(e.Value())
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
