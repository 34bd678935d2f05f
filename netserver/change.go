package netserver

import (
	"strconv"

	"kv/protocol"
	"kv/store"
)

// The requests that change a key by what it holds.

// incr counts as one key set.
func (c *conn) incr(w *workspace, h protocol.Header, body []byte) error {
	q, err := protocol.ParseIncr(h.Flags, body)
	if err != nil {
		return err
	}
	var p protocol.IncrResponse
	p.Version, err = c.update(w, q.Key, func(u *store.Update) error {
		e := u.Get(q.Key)
		if err := holds(q.Conditional, q.IfVersion, e); err != nil {
			return err
		}
		number, expiry := []byte("0"), expiryOf(u, q.TTL, q.ExpireAt)
		if e.Exists() {
			number, expiry = e.Value(), u.Expiry(e)
		}
		if p.Value, err = store.Sum(number, q.By); err != nil {
			return err
		}
		u.Set(q.Key, strconv.AppendInt(nil, p.Value, 10), expiry)
		return nil
	})
	if err != nil {
		return err
	}
	w.out.Buf = p.AppendTo(w.out.Buf, h.ID)
	return nil
}

// expire counts as one key set.
func (c *conn) expire(w *workspace, h protocol.Header, body []byte) error {
	q, err := protocol.ParseExpire(h.Flags, body)
	if err != nil {
		return err
	}
	version, err := c.update(w, q.Key, func(u *store.Update) error {
		e, err := existing(u, q.Key, q.Conditional, q.IfVersion)
		if err == nil {
			u.Set(q.Key, e.Value(), expiryOf(u, q.TTL, q.ExpireAt))
		}
		return err
	})
	if err != nil {
		return err
	}
	w.out.Buf = protocol.AppendVersion(w.out.Buf, h.Opcode, h.ID, version)
	return nil
}

// persist counts as one key set where there was an expiry to take away. Else it changes nothing, and answers the version that
// the key has.
func (c *conn) persist(w *workspace, h protocol.Header, body []byte) error {
	q, err := protocol.ParsePersist(h.Flags, body)
	if err != nil {
		return err
	}
	var has uint64
	version, err := c.update(w, q.Key, func(u *store.Update) error {
		e, err := existing(u, q.Key, q.Conditional, q.IfVersion)
		if err != nil {
			return err
		}
		if has = e.Version(); e.Expiry() != 0 {
			u.Set(q.Key, e.Value(), 0)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if version == 0 {
		version = has
	}
	w.out.Buf = protocol.AppendVersion(w.out.Buf, h.Opcode, h.ID, version)
	return nil
}

func (c *conn) update(w *workspace, key []byte, change func(*store.Update) error) (version uint64, err error) {
	w.keys = append(w.keys[:0], key)
	return c.session.Update(w.keys, change)
}

// existing returns what key holds, once the condition on its version holds and there is something.
func existing(u *store.Update, key []byte, conditional bool, version uint64) (store.Found, error) {
	e := u.Get(key)
	err := holds(conditional, version, e)
	if err == nil && !e.Exists() {
		err = protocol.ErrNotFound
	}
	return e, err
}

// holds returns the conflict where a condition does not hold of e.
func holds(conditional bool, version uint64, e store.Found) error {
	var current uint64
	if e.Exists() {
		current = e.Version()
	}
	if conditional && current != version {
		return &store.ConflictError{Version: current}
	}
	return nil
}

// expiryOf returns the expiry that a request gives: after ttl milliseconds, or at a time; both 0: none.
func expiryOf(u *store.Update, ttl, at uint64) uint64 {
	if ttl != 0 {
		return u.After(ttl)
	}
	return at
}
