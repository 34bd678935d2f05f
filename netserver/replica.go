package netserver

import (
	"encoding/binary"
	"time"

	"kv/protocol"
	"kv/store"
)

// What a connection does besides where the store is one of several alike (store.Options.Proposes). Before it executes
// what reads, the store is asked to be as new as the reads of this connection have to be. That is once for all that has
// come together; again only where a read comes behind a write, since it sees what its own connection wrote.

// Begin is called before a read is executed, by doors that are no kv frames, and again before one that comes behind a
// write. Where the store is no replica, it does nothing. Failure says what its error is to a client.
func (c *Client) Begin() error {
	if !c.server.config.Store.Proposes() {
		return nil
	}
	return c.session.Begin(c.readMode)
}

// SetReads says how new what this client's reads show has to be: no older than bound; 0: they have all that was answered before.
func (c *Client) SetReads(bound time.Duration) { c.readMode = store.ReadMode{Bound: bound} }

// reads is READS.
func (c *conn) reads(w *workspace, h protocol.Header, body []byte) error {
	q, err := protocol.ParseReads(body)
	if err != nil {
		return err
	}
	c.SetReads(time.Duration(q.Bound) * time.Millisecond)
	w.out.Buf = protocol.AppendHeader(w.out.Buf, h.Opcode, uint8(protocol.StatusOK), h.ID, 0)
	return nil
}

// begins says what a request means for runs.
type begins uint8

const (
	beginsNothing begins = 0
	beginsRead    begins = 1 // it reads
	beginsWrite   begins = 2 // what reads behind it begins anew
)

// beginsOf returns what a request with this opcode means.
func beginsOf(op protocol.Opcode) begins {
	switch op {
	case protocol.OpGet, protocol.OpMGet, protocol.OpScan, protocol.OpHistory:
		return beginsRead
	case protocol.OpTxn:
		return beginsRead | beginsWrite
	case protocol.OpPing, protocol.OpHello, protocol.OpStats, protocol.OpCluster, protocol.OpBackup:
		return beginsNothing
	}
	return beginsWrite // READS, too: the reads behind it are others
}

// run returns how many of p's first bytes are frames of which no read comes behind a write, and whether one of them reads.
func run(p []byte) (n int, reads bool) {
	wrote := false
	for len(p)-n >= protocol.HeaderSize {
		if protocol.CheckLength(binary.BigEndian.Uint32(p[n:])) != nil {
			break
		}
		h := protocol.ParseHeader(p[n:])
		if h.Size() > len(p)-n {
			break
		}
		b := beginsOf(h.Opcode)
		if b&beginsRead != 0 {
			if wrote {
				return n, reads
			}
			reads = true
		}
		wrote = wrote || b&beginsWrite != 0
		n += h.Size()
	}
	return len(p), reads // what is not whole, or no frame, is looked at by who answers
}

// answerRuns is Answer for a store that is one of several.
func (f *frames) answerRuns(o *Output, p []byte) (used, need int) {
	c := f.conn
	w := c.work
	for {
		n, reads := run(p[w.at:])
		end := w.at + n
		var err error
		if reads {
			err = c.Begin()
		}
		if err != nil {
			used, need = f.refuseAll(o, p[:end], Failure(err), Failure(err))
		} else {
			used, need = f.answerAll(o, p[:end])
		}
		if c.end != nil || end == len(p) || used < end {
			return used, need
		}
	}
}

// refuseAll answers every whole frame of p from w.at on: what only reads with reads, the others with writes.
func (f *frames) refuseAll(o *Output, p []byte, reads, writes *protocol.Error) (used, need int) {
	w := f.conn.work
	for len(p)-w.at >= protocol.HeaderSize && protocol.CheckLength(binary.BigEndian.Uint32(p[w.at:])) == nil {
		h := protocol.ParseHeader(p[w.at:])
		if h.Size() > len(p)-w.at {
			break
		}
		w.at += h.Size()
		o.Request()
		if err := f.conn.check(h); err != nil {
			f.conn.refuse(w, h, Failure(err))
		} else if h.Opcode.Writes() {
			f.conn.refuse(w, h, writes)
		} else {
			f.conn.refuse(w, h, reads)
		}
		o.Finish()
		if o.Full() {
			o.Flush()
		}
	}
	return w.at, 0
}
