package store

import (
	"slices"

	"kv/store/table"
)

// loadChunk is how many entries are sorted by shard at a time: a few for each shard, and few enough for the processor's
// caches.
const loadChunk = 2048

// load adds entries of the state that a journal begins with, in any order. Several goroutines may call it.
func (s *Store) load(entries []*Entry) {
	for chunk := range slices.Chunk(entries, loadChunk) {
		s.byShard(chunk, (*table.Shard).WarmLines, func(sh *shard, h uint64, e *Entry) {
			if sh.erasures != nil || !s.add(sh, h, e) {
				s.restore(sh, h, e)
			}
		})
	}
}

// apply adds entries that were written since, those of each key in order. Several goroutines may call it.
func (s *Store) apply(entries []*Entry) {
	for chunk := range slices.Chunk(entries, loadChunk) {
		s.byShard(chunk, (*table.Shard).Warm, func(sh *shard, h uint64, e *Entry) {
			if !s.add(sh, h, e) && !s.replay(sh, h, e, s.HistoryDepth()) {
				s.unloaded.Add(1)
			}
		})
	}
}

// add is replay of most entries there are: a value of a key that is not there yet. If it is not plain that e is one, it does
// nothing and returns false.
func (s *Store) add(sh *shard, h uint64, e *Entry) bool {
	if e.Deleted() {
		return false
	}
	var what table.Spec
	specInto(&what, e)
	if !sh.Add(h, &what, e.version) {
		return false
	}
	eff := effect{keys: 1, valueBytes: int64(e.Len())}
	if at := e.Expiry(); at != 0 {
		eff.expiring = 1
		s.noteAt(sh, h, s.clock.state.Load().latest(at, e.version))
	}
	sh.account(eff)
	sh.newest = max(sh.newest, e.version)
	return true
}

// byShard calls put for each of at most loadChunk entries, shard by shard, with the shard locked. Before that it calls warm
// with the hashes of those that come next.
func (s *Store) byShard(
	entries []*Entry, warm func(sh *table.Shard, hashes []uint64), put func(sh *shard, h uint64, e *Entry),
) {
	var hashes [loadChunk]uint64
	var end [shardCount]int
	for i, e := range entries {
		hashes[i] = s.hash(e.Key())
		end[table.ShardOf(hashes[i])]++
	}
	sum := 0
	for i, n := range end {
		end[i] = sum
		sum += n
	}
	var order [loadChunk]uint16 // by shard
	for i := range entries {
		at := &end[table.ShardOf(hashes[i])]
		order[*at] = uint16(i)
		*at++
	}
	for i := range end {
		i = (i + table.ShardOf(hashes[0])) % shardCount // others that load begin with other shards
		begin := 0
		if i > 0 {
			begin = end[i-1]
		}
		if begin == end[i] {
			continue
		}
		sh := &s.shards[i]
		sh.Lock()
		for some := range slices.Chunk(order[begin:end[i]], table.WarmAtOnce) {
			var next [table.WarmAtOnce]uint64
			for k, j := range some {
				next[k] = hashes[j]
			}
			warm(sh.Shard, next[:len(some)])
			for _, j := range some {
				put(sh, hashes[j], entries[j])
			}
		}
		sh.Unlock()
	}
}

// restore is replay of an entry of the state, which may be an earlier version of the key than the table has.
func (s *Store) restore(sh *shard, h uint64, e *Entry) {
	if e.control() >= controlTime {
		s.replay(sh, h, e, 0)
		return
	}
	p := sh.Find(h, e.Key())
	cur := p.Entry()
	purge, all := e.Purge()
	if purge || e.Deleted() && !s.keeps {
		if sh.erasures == nil {
			sh.erasures = make(map[string]erasure)
		}
		x := sh.erasures[string(e.Key())]
		if purge && !all {
			x.past = max(x.past, e.version)
		} else {
			x.all = max(x.all, e.version)
		}
		sh.erasures[string(e.Key())] = x
	}
	x := sh.erasures[string(e.Key())]
	if e.version < x.all || e.version < x.past && sh.between(&p, e.version, x.past) {
		return
	}
	if !s.keeps || purge || !cur.Exists() || cur.Version() <= e.version {
		if !s.replay(sh, h, e, s.keepLoaded()) {
			s.unloaded.Add(1)
		}
		return
	}
	what := spec(e)
	f, ok := sh.Make(&what, true)
	if !ok || !sh.Prepare(&p, true) {
		s.unloaded.Add(1)
		return
	}
	if !sh.Insert(&p, f, e.version, s.keepLoaded()) {
		sh.Drop(f)
	}
	if s.age.Load() > 0 {
		s.note(sh, h)
	}
}

// erasure is what a state that is being loaded says of the versions of a key that were erased.
type erasure struct {
	all  uint64 // nothing older than this version is to be left
	past uint64 // of what is older than this version only the newest
}

// between reports whether the key at p has a version between these two.
func (sh *shard) between(p *table.Place, from, to uint64) (is bool) {
	look := func(e Found) bool {
		is = is || e.Version() > from && e.Version() < to
		return !is
	}
	if e := p.Entry(); e.Exists() && look(e) {
		sh.Revisions(p, look)
	}
	return is
}

// replay puts e, as a journal holds it, into sh, which is locked, unless the key has something newer. It takes memory
// whatever the limit says, so that a full store can start again; false means that the system has none. keep is how many
// earlier versions the key may have.
func (s *Store) replay(sh *shard, h uint64, e *Entry, keep int) bool {
	if now, is := e.Time(); is { // while a store is loaded
		s.setTime(now)
		return true
	}
	if e.control() >= controlForget { // likewise
		s.forgets.add(e)
		return true
	}
	p := sh.Find(h, e.Key())
	cur := p.Entry()
	if cur.Exists() && cur.Version() >= e.version {
		return true
	}
	if purge, all := e.Purge(); purge {
		s.erase(sh, h, e.Key(), all, e.version)
		return true
	}
	o := [1]outcome{{hash: h, entry: e, cur: cur}}
	switch {
	case !e.Deleted() || s.keeps:
		var ok bool
		what := spec(e)
		if o[0].next, ok = sh.Make(&what, true); !ok || !sh.Prepare(&p, true) {
			return false
		}
	case !cur.Exists():
		return true
	}
	s.publish(o[:], e.version, keep, func() { o[0].put(sh, &p, e.version, keep) })
	sh.Reclaim()
	return true
}

// loaded is called when everything is loaded. It drops history that had been dropped, and keys of which only a deletion is
// left.
func (s *Store) loaded() {
	for _, e := range s.forgets.take() {
		if oldest, is := e.Forget(); is {
			s.forgetAll(e.version, oldest)
		} else if s.replica != nil && s.keeps { // a store alone is told by its Options
			_, _ = s.applyHistory(e.version, e)
		}
	}
	for i := range s.shards {
		if s.shards[i].erasures = nil; !s.keeps {
			continue // nothing is
		}
		s.eachKept(&s.shards[i], func(sh *shard, key []byte) { s.dropLoneDeletion(sh, s.hash(key), key) })
	}
}
