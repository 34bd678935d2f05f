package store

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"

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
	version, err = c.mset(pairs)
	if errors.Is(err, ErrOutOfMemory) {
		// Values that others of the same keys follow had their memory, too. Equal keys are seldom: they are looked for here only.
		if last := lastPairs(pairs); len(last) < len(pairs) {
			version, err = c.mset(last)
		}
	}
	if err != nil {
		return 0, err
	}
	c.sets += uint64(len(pairs))
	return version, nil
}

// lastPairs returns the last of the pairs with each key.
func lastPairs(pairs []Pair) (last []Pair) {
	seen := make(map[string]bool, len(pairs))
	for _, p := range slices.Backward(pairs) {
		if !seen[string(p.Key)] {
			seen[string(p.Key)] = true
			last = append(last, p)
		}
	}
	return last
}

// mset is MSet of at least one pair, uncounted; all of them have their memory at the same time.
func (c *Session) mset(pairs []Pair) (version uint64, err error) {
	size := 0
	for _, p := range pairs {
		size += entryHeader + len(p.Key) + len(p.Value)
	}
	if err := c.store.admitCopies(size); err != nil {
		return 0, err
	}
	if table.IsLarge(size) && c.store.refuses(pairs) {
		return 0, ErrOutOfMemory
	}
	sc := takeScratch()
	defer sc.give()
	var set table.ShardSet
	for _, p := range pairs { // copied before any lock is taken
		sc.list = append(sc.list, sc.entry(p.Key, p.Value, 0, 0))
		set.Add(c.store.shardIndex(p.Key))
	}
	return c.atomically(sc, true, nil, set, func(w *commit) {
		for _, e := range sc.list {
			w.set(c.store.hash(e.Key()), e)
		}
	})
}

// Txn checks the conditions and, if all hold, runs ops in order, all at one instant: an OpGet sees what the ops before it
// wrote. It appends one result for each op to dst. The version is 0 if nothing was written. Errors are those of Set, and
// that of an op without a kind.
func (c *Session) Txn(dst []Result, conds []Condition, ops []Op) (results []Result, version uint64, err error) {
	return c.TxnIf(dst, conds, ops, nil)
}

// TxnIf is Txn, but for one who has to see the results before anything takes effect: if accept returns an error, that is
// Txn's, and nothing was applied. It is called with the keys locked, maybe more than once, so it has to be quick and must not
// use the store; and what the transaction itself wrote has no version yet. If it panics, nothing was applied. A nil accept
// accepts all.
func (c *Session) TxnIf(
	dst []Result, conds []Condition, ops []Op, accept func([]Result) error,
) (results []Result, version uint64, err error) {
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

// TxnView is TxnIf without a copy: the entries of the results are where they lie, until the view that it returns is
// closed. What the transaction itself wrote may have version 0, which stands for that of the transaction. If there is
// an error, no view is open.
func (c *Session) TxnView(
	dst []ViewResult, conds []Condition, ops []Op, accept func([]ViewResult) error,
) (results []ViewResult, version uint64, v View, err error) {
	for i, o := range ops {
		if o.Kind < OpGet || o.Kind > OpDel {
			return dst, 0, View{}, fmt.Errorf("operation %d of %d is of kind %d, and that is none: OpGet, OpSet and OpDel are",
				i, len(ops), o.Kind)
		}
		if err := errors.Join(checkLen(o.Key, o.Value), checkExpiry(o.TTL, o.ExpireAt)); err != nil {
			return dst, 0, View{}, err
		}
	}
	var done counter
	size := 0
	for _, o := range ops {
		if o.Kind == OpSet {
			size += entryHeader + expirySize + len(o.Key) + len(o.Value)
		}
	}
	if err := c.store.admitCopies(size); err != nil {
		return dst, 0, View{}, err
	}
	sc := takeScratch()
	defer sc.give()
	for _, o := range ops { // what each OpSet puts in its key's place
		var e *Entry
		switch o.Kind {
		case OpGet:
			done.gets++
		case OpSet:
			done.sets++
			e = c.store.newValue(sc, o.Key, o.Value, o.TTL, o.ExpireAt)
		case OpDel:
			done.dels++
		}
		sc.list = append(sc.list, e)
	}
	var set table.ShardSet
	for _, q := range conds {
		set.Add(c.store.shardIndex(q.Key))
	}
	for _, o := range ops {
		set.Add(c.store.shardIndex(o.Key))
	}
	version, err = c.atomically(sc, done.sets+done.dels > 0, c.reader, set, func(w *commit) {
		results = dst
		for i, q := range conds {
			if v := versionOf(w.current(c.store.hash(q.Key), q.Key)); v != q.Version {
				w.refused = &ConflictError{Index: i, Version: v}
				return
			}
		}
		for i, o := range ops {
			results = append(results, w.run(o, sc.list[i]))
		}
		if accept != nil && w.refused == nil {
			w.refused = accept(results[len(dst):])
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
	w.set(h, w.scratch.tombstone(key))
	return true
}

// atomically runs stage with the locks of the shards in set held and then makes what it staged visible at one instant,
// unless stage has set refused, which then is the error. sc is what it is put together in. If memory is short and
// history can be given up for it, it does so and starts again. writes is false if nothing will be staged. view, if it
// is not nil, is pinned while stage runs, and remains so if there is no error.
func (c *Session) atomically(
	sc *scratch, writes bool, view *table.Reader, set table.ShardSet, stage func(*commit),
) (version uint64, err error) {
	s := c.store
	c.writes()
	if writes {
		s.readers.pace()
		if err := s.admit(0); err != nil {
			c.shows(0, err)
			return 0, err
		}
	} else if err := c.mayLook(); err != nil {
		c.shows(0, err)
		return 0, err
	}
	w := &sc.commit
	err = s.makeRoom(set, func(keep int) (wanted demand, err error) {
		*w = commit{s: s, scratch: sc, txn: w.txn, outcomes: w.outcomes[:0], keep: keep, view: view}
		if set != 0 {
			w.home = &s.shards[bits.TrailingZeros64(uint64(set))]
		}
		defer func() { c.see(max(version, w.seen)) }()
		version, err = w.once(stage, set)
		return w.wanted, err
	})
	c.shows(version, err)
	return version, err
}

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
	if w.now = w.s.clock.now(); w.s.replica != nil {
		w.time = w.s.wallMillis()
	}
	stage(w)
	if w.refused != nil {
		return 0, w.refused
	}
	version, err = w.finish()
	done = err == nil
	return version, err
}
