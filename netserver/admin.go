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
	o := store.ScanOptions{Prefix: q.Prefix, Limit: min(int(q.Limit), maxPage), Values: q.WithValues}
	page, err := c.session.Scan(q.Cursor, o)
	if err != nil {
		return err
	}
	size, held := pageHolds(page, q)
	for bodyHolds(size, held) > c.server.config.ClientOutput && len(page.Entries) > 1 {
		// Of a shorter page the client can have more.
		o.Limit = len(page.Entries) / 2
		shorter, err := c.session.Scan(q.Cursor, o)
		if err != nil {
			return err
		}
		if len(shorter.Entries) >= len(page.Entries) {
			break
		}
		page = shorter
		size, held = pageHolds(page, q)
	}
	if err := c.begin(w, h, size, held); err != nil {
		return err
	}
	if !q.WithValues {
		// Copied, so that a client that does not read holds no values that it did not ask for.
		c.appendPiece(w, appendPage(make([]byte, 0, size), page, q.WithMeta))
		return nil
	}
	w.out.buf = appendPageHead(w.out.buf, page)
	for _, e := range page.Entries {
		w.out.buf = binary.BigEndian.AppendUint32(w.out.buf, uint32(len(e.Key())))
		c.appendPiece(w, e.Key())
		if q.WithMeta {
			w.out.buf = protocol.AppendMeta(w.out.buf, meta(e))
		}
		w.out.buf = binary.BigEndian.AppendUint32(w.out.buf, uint32(e.Len()))
		c.appendPiece(w, e.Value())
	}
	return nil
}

// pageHolds returns the size of a page as a body, and how much it holds besides.
func pageHolds(page store.Page, q protocol.Scan) (size int, held int64) {
	size = 6 + len(page.Next)
	for _, e := range page.Entries {
		size += 4 + len(e.Key())
		if q.WithMeta {
			size += protocol.MetaSize
		}
		if q.WithValues {
			size += 4 + e.Len()
			held += entryOverhead
		}
	}
	return size, held
}

func appendPageHead(dst []byte, page store.Page) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(page.Next)))
	dst = append(dst, page.Next...)
	return binary.BigEndian.AppendUint32(dst, uint32(len(page.Entries)))
}

// appendPage appends a page without values.
func appendPage(dst []byte, page store.Page, withMeta bool) []byte {
	dst = appendPageHead(dst, page)
	for _, e := range page.Entries {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(e.Key())))
		dst = append(dst, e.Key()...)
		if withMeta {
			dst = protocol.AppendMeta(dst, meta(e))
		}
	}
	return dst
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
	size, held := 4, int64(0)
	for _, r := range revisions {
		size += 20 + r.Entry.Len()
		held += heldBy(r.Entry)
	}
	if err := c.begin(w, h, size, held); err != nil {
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

// usualChunk is at least what a chunk of a backup takes, as a rule.
const usualChunk = 1<<20 + 64

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
	// Before, since a chunk that is not sent is lost, and the backup with it.
	if err := c.holdAnswer(w, h, min(usualChunk, c.server.config.ClientOutput)); err != nil {
		return err
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
	if err := c.begin(w, h, 8+len(chunk), 0); err != nil {
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
