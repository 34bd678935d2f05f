package netserver

import (
	"encoding/binary"
	"errors"

	"kv/protocol"
	"kv/store"
)

// The requests about the connection, the server, and the store as a whole.

func (c *conn) ping(w *workspace, h protocol.Header, body []byte) error {
	w.out.buf = protocol.AppendHeader(w.out.buf, h.Opcode, uint8(protocol.StatusOK), h.ID, len(body))
	w.out.value(body)
	return nil
}

func (c *conn) hello(w *workspace, h protocol.Header, body []byte) error {
	q, err := protocol.ParseHello(body)
	if err != nil {
		return err
	}
	if q.Version < protocol.Version {
		return refusalf(protocol.StatusBadRequest, "protocol version %d: the lowest that is spoken here is %d", q.Version, protocol.Version)
	}
	if c.server.config.Accounts != nil {
		if err := c.logIn(w, h, q.User, q.Secret); err != nil {
			return err
		}
	}
	w.out.buf = protocol.HelloResponse{
		Version:  protocol.Version,
		Limit:    c.server.config.Limit,
		Instance: c.server.config.Store.Instance(),
		Server:   c.server.config.Name,
	}.AppendTo(w.out.buf, h.ID)
	return nil
}

func (c *conn) stats(w *workspace, h protocol.Header, body []byte) error {
	if len(body) != 0 {
		return refusalf(protocol.StatusBadRequest, "STATS has no body, this one has %d bytes", len(body))
	}
	w.out.buf = protocol.AppendStats(w.out.buf, h.ID, c.server.figures(c.session.Stats()))
	return nil
}

// maxPage is how many keys a page of a scan may have.
const maxPage = 10_000

func (c *conn) scan(w *workspace, h protocol.Header, body []byte) error {
	q, err := protocol.ParseScan(h.Flags, body)
	if err != nil {
		return err
	}
	page, err := c.session.Scan(q.Cursor, store.ScanOptions{
		Prefix: q.Prefix,
		Limit:  min(int(q.Limit), maxPage),
		Values: q.WithValues,
	})
	if err != nil {
		return err
	}
	size := 6 + len(page.Next)
	for _, e := range page.Entries {
		size += 4 + len(e.Key())
		if q.WithMeta {
			size += protocol.MetaSize
		}
		if q.WithValues {
			size += 4 + e.Len()
		}
	}
	if err := c.begin(w, h, size); err != nil {
		return err
	}
	w.out.buf = binary.BigEndian.AppendUint16(w.out.buf, uint16(len(page.Next)))
	w.out.buf = append(w.out.buf, page.Next...)
	w.out.buf = binary.BigEndian.AppendUint32(w.out.buf, uint32(len(page.Entries)))
	for _, e := range page.Entries {
		w.out.buf = binary.BigEndian.AppendUint32(w.out.buf, uint32(len(e.Key())))
		c.appendPiece(w, e.Key())
		if q.WithMeta {
			w.out.buf = protocol.AppendMeta(w.out.buf, meta(e))
		}
		if q.WithValues {
			w.out.buf = binary.BigEndian.AppendUint32(w.out.buf, uint32(e.Len()))
			c.appendPiece(w, e.Value())
		}
	}
	return nil
}

func (c *conn) history(w *workspace, h protocol.Header, body []byte) error {
	q, err := protocol.ParseHistory(body)
	if err != nil {
		return err
	}
	revisions := c.session.History(nil, q.Key, int(q.Limit))
	if len(revisions) == 0 {
		return protocol.ErrNotFound
	}
	size := 4
	for _, r := range revisions {
		size += 20 + r.Entry.Len()
	}
	if err := c.begin(w, h, size); err != nil {
		return err
	}
	w.out.buf = binary.BigEndian.AppendUint32(w.out.buf, uint32(len(revisions)))
	for _, r := range revisions {
		w.out.buf = binary.BigEndian.AppendUint64(w.out.buf, r.Entry.Version())
		w.out.buf = binary.BigEndian.AppendUint64(w.out.buf, r.Time)
		if r.Entry.Deleted() {
			c.appendValue(w, nil, false)
		} else {
			c.appendValue(w, r.Entry, false)
		}
	}
	return nil
}

func (c *conn) rollback(w *workspace, h protocol.Header, body []byte) error {
	q, err := protocol.ParseRollback(body)
	if err != nil {
		return err
	}
	version, err := c.session.Rollback(q.Key, q.Version)
	if err != nil {
		return err
	}
	w.out.buf = protocol.AppendVersion(w.out.buf, h.Opcode, h.ID, version)
	return nil
}

func (c *conn) purge(w *workspace, h protocol.Header, body []byte) error {
	q, err := protocol.ParsePurge(w.keys[:0], h.Flags, body)
	if err != nil {
		return err
	}
	var p protocol.PurgeResponse
	var erased int
	if q.ByPrefix {
		erased, p.Version, p.Cursor, err = c.session.PurgePrefix(q.Cursor, q.Prefix)
	} else {
		w.keys = q.Keys
		erased, p.Version, err = c.session.Purge(q.Keys)
	}
	if err != nil {
		return err
	}
	p.Erased = uint64(erased)
	w.out.buf = p.AppendTo(w.out.buf, h.ID)
	return nil
}

func (c *conn) snapshot(w *workspace, h protocol.Header, body []byte) error {
	if len(body) != 0 {
		return refusalf(protocol.StatusBadRequest, "SNAPSHOT has no body, this one has %d bytes", len(body))
	}
	if c.server.config.Snapshots == nil {
		return refusalf(protocol.StatusUnavailable, "the server has no data folder")
	}
	version, size, err := c.server.config.Snapshots.Snapshot(c.server.context)
	if err != nil {
		return unavailable(err)
	}
	w.out.buf = protocol.SnapshotResponse{Version: version, Bytes: uint64(size)}.AppendTo(w.out.buf, h.ID)
	return nil
}

func (c *conn) backup(w *workspace, h protocol.Header, body []byte) error {
	q, err := protocol.ParseBackup(body)
	if err != nil {
		return err
	}
	if c.server.config.Backups == nil {
		return refusalf(protocol.StatusUnavailable, "the server makes no backups")
	}
	switch {
	case q.Handle == 0:
		c.endBackup() // one that was begun here before and never finished
	case q.Handle != c.backingUp:
		return refusalf(protocol.StatusBadRequest, "no backup of this connection has that handle")
	}
	c.backingUp = 0
	user := ""
	if c.login != nil {
		user = c.login.user
	}
	next, chunk, err := c.server.config.Backups.Backup(user, q.Handle)
	if err != nil {
		return unavailable(err)
	}
	c.backingUp = next
	if err := c.begin(w, h, 8+len(chunk)); err != nil {
		return err
	}
	w.out.buf = binary.BigEndian.AppendUint64(w.out.buf, next)
	c.appendPiece(w, chunk)
	return nil
}

// endBackup gives up the backup that the connection has begun and not finished, if any.
func (c *conn) endBackup() {
	if c.backingUp != 0 {
		c.server.config.Backups.End(c.backingUp)
		c.backingUp = 0
	}
}

// unavailable is the answer where what is behind the store failed, unless err is an answer of its own.
func unavailable(err error) error {
	var refusal *protocol.Error
	if errors.As(err, &refusal) {
		return refusal
	}
	return refusalf(protocol.StatusUnavailable, "%v", err)
}
