package netserver

import (
	"kv/protocol"
	"kv/store"
)

// The requests about the connection, the server, and the store as a whole.

func (c *conn) ping(w *workspace, h protocol.Header, body []byte) error {
	w.out.Buf = protocol.AppendHeader(w.out.Buf, h.Opcode, uint8(protocol.StatusOK), h.ID, len(body))
	w.out.Value(body)
	return nil
}

func (c *conn) hello(w *workspace, h protocol.Header, body []byte) error {
	q, err := protocol.ParseHello(h.Flags, body)
	if err != nil {
		return err
	}
	if q.Version < protocol.Version {
		return refusalf(protocol.StatusBadRequest, "protocol version %d: the lowest that is spoken here is %d", q.Version, protocol.Version)
	}
	if err := c.logIn(w, h, q.User, q.Secret); err != nil {
		return err
	}
	c.goodbye = q.Goodbye
	w.out.Buf = protocol.HelloResponse{
		Version:  protocol.Version,
		Limit:    c.server.config.Limit,
		Instance: c.server.config.Store.Instance(),
		Server:   c.server.config.Name,
	}.AppendTo(w.out.Buf, h.ID)
	return nil
}

// logIn logs in, and answers what was asked before while a failed one is waited for.
func (c *conn) logIn(w *workspace, h protocol.Header, user, secret []byte) error {
	err := c.tryLogin(user, secret)
	if err != errWrongLogin {
		return err
	}
	if !w.out.flush(1) {
		return ErrAnswered
	}
	if c.atone(); !c.barred {
		return err
	}
	c.refuse(w, h, errWrongLogin)
	w.out.Flush()
	c.stop(errGuessing)
	return ErrAnswered
}

func (c *conn) stats(w *workspace, h protocol.Header, body []byte) error {
	if len(body) != 0 {
		return refusalf(protocol.StatusBadRequest, "STATS has no body, this one has %d bytes", len(body))
	}
	w.out.Buf = protocol.AppendStats(w.out.Buf, h.ID, c.Stats())
	return nil
}

// maxPage is how many keys a page of a scan may have.
const maxPage = 10_000

func (c *conn) scan(w *workspace, h protocol.Header, body []byte) error {
	q, err := protocol.ParseScan(h.Flags, body)
	if err != nil {
		return err
	}
	// Before, since a page is copied. Half, because the answer is made of it.
	most := min(store.PageBytes, int(c.server.config.ClientOutput)/2)
	if err := w.out.Hold(h.Opcode.String(), most, 0); err != nil {
		return err
	}
	o := store.ScanOptions{Prefix: q.Prefix, Limit: min(int(q.Limit), maxPage), Values: q.WithValues, Bytes: most}
	page, err := c.session.Scan(q.Cursor, o)
	if err != nil {
		return err
	}
	size, held := pageHolds(page, q)
	for outputOf(size, held) > c.server.config.ClientOutput && len(page.Entries) > 1 {
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
	if err := c.room(w, h, size, held); err != nil {
		return err
	}
	w.out.Buf = protocol.AppendScanHead(w.out.Buf, h.ID, size, page.Next, len(page.Entries))
	if !q.WithValues {
		// Copied, so that a client that does not read holds no values that it did not ask for.
		w.out.Piece(appendKeys(make([]byte, 0, size), page, q.WithMeta))
		return nil
	}
	for _, e := range page.Entries {
		w.out.Buf = protocol.AppendLength(w.out.Buf, len(e.Key()))
		w.out.Piece(e.Key())
		if q.WithMeta {
			w.out.Buf = protocol.AppendMeta(w.out.Buf, meta(e))
		}
		w.out.Buf = protocol.AppendLength(w.out.Buf, e.Len())
		w.out.Piece(e.Value())
	}
	return nil
}

// pageHolds returns the size of a page as a body, and how much it holds besides.
func pageHolds(page store.Page, q protocol.Scan) (size int, held int64) {
	size = protocol.ScanHeadSize(page.Next)
	for _, e := range page.Entries {
		size += protocol.ScanItemSize(len(e.Key()), e.Len(), q.WithMeta, q.WithValues)
		if q.WithValues {
			held += entryOverhead
		}
	}
	return size, held
}

// appendKeys appends the items of a page without values.
func appendKeys(dst []byte, page store.Page, withMeta bool) []byte {
	for _, e := range page.Entries {
		dst = protocol.AppendLength(dst, len(e.Key()))
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
	var revisions []store.Revision
	err = c.withRoom(w, h, func(promise func(size int, held int64) error) (err error) {
		revisions, err = c.session.HistoryIf(nil, q.Key, int(q.Limit), func(n int, bytes int64) error {
			return promise(protocol.HistoryHeadSize+n*(protocol.RevisionSize+protocol.ValueSize(0, false))+int(bytes), int64(n)*(int64(len(q.Key))+entryOverhead))
		})
		return err
	})
	if err != nil {
		return err
	}
	if len(revisions) == 0 {
		return protocol.ErrNotFound
	}
	size, held := protocol.HistoryHeadSize, int64(0)
	for _, r := range revisions {
		size += protocol.RevisionSize + protocol.ValueSize(r.Entry.Len(), false) // as much as AbsentSize, where there is none
		held += heldBy(r.Entry)
	}
	if err := c.room(w, h, size, held); err != nil {
		return err
	}
	w.out.Buf = protocol.AppendHistoryHead(w.out.Buf, h.ID, size, len(revisions))
	for _, r := range revisions {
		w.out.Buf = protocol.AppendRevision(w.out.Buf, r.Entry.Version(), r.Time)
		if r.Entry.Deleted() {
			w.out.Buf = protocol.AppendAbsent(w.out.Buf)
			continue
		}
		w.out.Buf = protocol.AppendValueHead(w.out.Buf, r.Entry.Len(), false, protocol.Meta{})
		w.out.Piece(r.Entry.Value())
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
	w.out.Buf = protocol.AppendVersion(w.out.Buf, h.Opcode, h.ID, version)
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
	w.out.Buf = p.AppendTo(w.out.Buf, h.ID)
	return nil
}

func (c *conn) snapshot(w *workspace, h protocol.Header, body []byte) error {
	if len(body) != 0 {
		return refusalf(protocol.StatusBadRequest, "SNAPSHOT has no body, this one has %d bytes", len(body))
	}
	version, size, err := c.Snapshot()
	if err != nil {
		return err
	}
	w.out.Buf = protocol.SnapshotResponse{Version: version, Bytes: uint64(size)}.AppendTo(w.out.Buf, h.ID)
	return nil
}

func (c *conn) backup(w *workspace, h protocol.Header, body []byte) error {
	q, err := protocol.ParseBackup(body)
	if err != nil {
		return err
	}
	if err := c.canBackup(q.Handle); err != nil {
		return err
	}
	// Before, since a chunk that is not sent is lost, and the backup with it.
	if err := w.out.hold(h.Opcode.String(), min(usualChunk, c.server.config.ClientOutput)); err != nil {
		return err
	}
	next, chunk, err := c.Backup(q.Handle)
	if err != nil {
		return err
	}
	if err := c.room(w, h, protocol.BackupHeadSize+len(chunk), 0); err != nil {
		return err
	}
	w.out.Buf = protocol.AppendBackupHead(w.out.Buf, h.ID, len(chunk), next)
	w.out.Piece(chunk)
	return nil
}
