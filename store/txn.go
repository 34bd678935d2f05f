package store

import (
	"errors"
	"iter"

	"kv/store/table"
)

// MSet sets all pairs at one instant; of equal keys the last wins. With no pairs it does nothing and returns version 0.
func (c *Session) MSet(pairs []Pair) (version uint64, err error) {
	for _, p := range pairs {
		if err := checkLen(p.Key, p.Value); err != nil {
			return 0, err
		}
	}
	if len(pairs) == 0 {
		return 0, nil
	}
	entries := make([]*Entry, len(pairs)) // copied before any lock is taken
	for i, p := range pairs {
		entries[i] = newEntry(p.Key, p.Value, 0)
	}
	version, err = c.atomically(true, nil, func(w *commit) {
		for _, e := range entries {
			w.set(c.store.hash(e.Key()), e)
		}
	}, func(yield func([]byte) bool) {
		for _, p := range pairs {
			if !yield(p.Key) {
				return
			}
		}
	})
	if err != nil {
		return 0, err
	}
	c.sets += uint64(len(pairs))
	return version, nil
}

// Txn checks the conditions and, if all hold, runs ops in order, all at one instant: an OpGet sees what the ops before it
// wrote. It appends one result for each op to dst. The version is 0 if nothing was written. Errors are those of Set.
func (c *Session) Txn(dst []Result, conds []Condition, ops []Op) (results []Result, version uint64, err error) {
	return c.TxnIf(dst, conds, ops, nil)
}

// TxnIf is Txn, but for one who has to see the results before anything takes effect: if accept returns an error, that is
// Txn's, and nothing was applied. It is called with the keys locked, maybe more than once, so it has to be quick and must not
// use the store; and what the transaction itself wrote has no version yet. If it panics, nothing was applied. A nil accept
// accepts all.
func (c *Session) TxnIf(dst []Result, conds []Condition, ops []Op, accept func([]Result) error) (results []Result, version uint64, err error) {
	copies := func(found []ViewResult) []Result {
		results = dst
		for _, r := range found {
			results = append(results, Result{detach(r.Found), r.Existed})
		}
		return results[len(dst):]
	}
	var look func([]ViewResult) error
	if accept != nil {
		look = func(found []ViewResult) error { return accept(copies(found)) }
	}
	found, version, v, err := c.TxnView(nil, conds, ops, look)
	if err != nil {
		return dst, 0, err
	}
	defer v.Close()
	for _, r := range copies(found) {
		if r.Entry != nil && r.Entry.version == 0 { // what the transaction itself wrote
			r.Entry.version = version
		}
	}
	return results, version, nil
}

// TxnView is TxnIf without a copy: the entries of the results are where they lie, until the view that it returns is closed. What the
// transaction itself wrote may have version 0, which stands for that of the transaction. If there is an error, no view is open.
func (c *Session) TxnView(dst []ViewResult, conds []Condition, ops []Op, accept func([]ViewResult) error) (results []ViewResult, version uint64, v View, err error) {
	for _, o := range ops {
		if err := errors.Join(checkLen(o.Key, o.Value), checkExpiry(o.TTL, o.ExpireAt)); err != nil {
			return dst, 0, View{}, err
		}
	}
	var done counter
	entries := make([]*Entry, len(ops)) // what each OpSet puts in its key's place
	for i, o := range ops {
		switch o.Kind {
		case OpGet:
			done.gets++
		case OpSet:
			done.sets++
			entries[i] = c.store.newValue(nil, o.Key, o.Value, o.TTL, o.ExpireAt)
		case OpDel:
			done.dels++
		}
	}
	version, err = c.atomically(done.sets+done.dels > 0, c.reader, func(w *commit) {
		results = dst
		for i, q := range conds {
			if v := versionOf(w.current(c.store.hash(q.Key), q.Key)); v != q.Version {
				w.refused = &ConflictError{Index: i, Version: v}
				return
			}
		}
		for i, o := range ops {
			results = append(results, w.run(o, entries[i]))
		}
		if accept != nil && w.refused == nil {
			w.refused = accept(results[len(dst):])
		}
	}, func(yield func([]byte) bool) {
		for _, q := range conds {
			if !yield(q.Key) {
				return
			}
		}
		for _, o := range ops {
			if !yield(o.Key) {
				return
			}
		}
	})
	if err != nil {
		return dst, 0, View{}, err
	}
	c.gets += done.gets
	for i, o := range ops {
		if o.Kind == OpGet && !results[len(dst)+i].Found.Exists() {
			c.misses++
		}
	}
	c.sets += done.sets
	c.dels += done.dels
	return results, version, View{c}, nil
}

type counter struct{ gets, sets, dels uint64 }

// run does one operation of a transaction; e is what an OpSet puts in its key's place.
func (w *commit) run(o Op, e *Entry) (r ViewResult) {
	switch o.Kind {
	case OpGet:
		r.Found = w.current(w.s.hash(o.Key), o.Key)
	case OpSet:
		w.set(w.s.hash(o.Key), e)
	case OpDel:
		r.Existed = w.del(o.Key)
	}
	return r
}

// del stages the deletion of key and reports whether it existed.
func (w *commit) del(key []byte) bool {
	h := w.s.hash(key)
	if !w.current(h, key).Exists() {
		return false
	}
	w.set(h, newTombstone(key))
	return true
}

// atomically runs stage with the locks of keys held and then makes what it staged visible at one instant, unless stage has set
// refused, which then is the error. If memory is short and history can be given up for it, it does so and starts again.
// writes is false if nothing will be staged. view, if it is not nil, is pinned while stage runs, and remains so if there is no error.
func (c *Session) atomically(writes bool, view *table.Reader, stage func(*commit), keys iter.Seq[[]byte]) (version uint64, err error) {
	s := c.store
	if writes {
		if err := s.admit(0); err != nil {
			return 0, err
		}
	}
	var set table.ShardSet
	home := -1
	for k := range keys {
		i := table.ShardOf(s.hash(k))
		set.Add(i)
		home = max(home, i)
	}
	err = s.makeRoom(func(keep int) (wanted int64, err error) {
		w := &commit{s: s, txn: &c.txn, staged: c.staged[:0], keep: keep, view: view}
		if home >= 0 {
			w.home = &s.shards[home]
		}
		defer func() {
			c.see(max(version, w.seen))
			clear(w.staged)
			c.staged = w.staged[:0]
			if cap(c.staged) > keepStaged {
				c.staged = nil
			}
		}()
		version, err = w.once(stage, set)
		return w.wanted, err
	})
	return version, err
}

// keepStaged is for how many keys a session keeps room between its writes.
const keepStaged = 32

func (w *commit) once(stage func(*commit), set table.ShardSet) (version uint64, err error) {
	w.s.table.LockAll(set)
	defer w.s.table.UnlockAll(set)
	done := false
	if w.view != nil {
		w.view.Pin() // before anything is found, and after the locks were waited for
		defer func() {
			if !done {
				w.view.Unpin()
			}
		}()
	}
	defer w.undo() // if it was not committed, for whatever reason: stage may run a caller's code, and that may panic
	w.now = w.s.clock.now()
	stage(w)
	if w.refused != nil {
		return 0, w.refused
	}
	version, err = w.finish()
	done = err == nil
	return version, err
}
