package store

import (
	"math"
	"sync/atomic"

	"kv/store/table"
)

// demand is about how many bytes of memory entries take.
type demand struct {
	bytes int64
	large int64 // the part of bytes that large values take. Each has memory of its own, where small entries share chunks
}

func (d *demand) add(o demand) {
	d.bytes += o.bytes
	d.large += o.large
}

// demandOf returns the demand of an entry whose key and value have so many bytes.
func demandOf(key, value int) demand {
	if table.IsLarge(value) {
		n := entryMemory(key, value)
		return demand{int64(entryExtra+key) + n, n}
	}
	return demand{bytes: int64(entryExtra + key + value)}
}

// budget counts the bytes that the store has taken: chunks of the arena, large values, calendars, proposals. Its atomics
// are counts and limits, and publish nothing.
type budget struct {
	limit    int64        // Options.MaxMemory; 0: none. Fixed
	reserve  int64        // the part of limit that is kept for what can't be refused, where eviction compacts often. Fixed
	used     atomic.Int64 // bytes taken; may go past the limit by what can't be refused
	withheld atomic.Int64 // see Withhold
	others   atomic.Int64 // see LimitTo
}

// LimitTo lowers the limit to what the smallest replica has room for, in bytes as Options.MaxMemory counts them, so that
// no write is taken that another replica can't hold. 0: the store's own limit is the limit.
func (s *Store) LimitTo(bytes int64) { s.budget.others.Store(bytes) }

// Withhold keeps so many bytes of the limit from being used, because the process takes that memory in other ways, as for
// holes between objects. 0: all may be used.
func (s *Store) Withhold(bytes int64) { s.budget.withheld.Store(bytes) }

// most returns the limit in bytes: the store's own, or the replicas' if that is lower. 0: none.
func (b *budget) most() int64 {
	if others := b.others.Load(); others > 0 && (b.limit == 0 || others < b.limit) {
		return others
	}
	return b.limit
}

// ceiling returns how many bytes may be in use after a write that can be refused; the largest int64 if there is no limit.
func (b *budget) ceiling() int64 {
	limit := b.most()
	if limit == 0 {
		return math.MaxInt64
	}
	return limit - b.reserve - b.withheld.Load()
}

// Take adds n bytes and reports whether the limit allows them; if not, nothing is added. With must they are added
// whatever the limit says.
func (b *budget) Take(n int64, must bool) bool {
	if n <= 0 || must || b.most() == 0 {
		b.used.Add(n)
		return true
	}
	for {
		used := b.used.Load() // a plain Add, taken back if it was too much, would have others refused meanwhile
		if used+n > b.ceiling() {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// Give gives back n bytes.
func (b *budget) Give(n int64) { b.used.Add(-n) }

// has reports whether Take of n bytes would succeed now.
func (b *budget) has(n int64) bool { return b.used.Load() <= b.ceiling()-n }

// over reports whether more than the limit is in use, which writes that can't be refused lead to.
func (b *budget) over() bool {
	limit := b.most()
	return limit > 0 && b.used.Load() > limit
}

// besides is the arena's budget: the store's, which also counts the bytes that lie outside Go's heap.
type besides struct {
	*budget
	bytes   atomic.Int64      // a count; publishes nothing
	changed func(bytes int64) // Options.Beside; may be nil
}

// Take is that of the store's budget.
func (b *besides) Take(n int64, must bool) bool {
	taken := b.budget.Take(n, must)
	if taken {
		b.tell(n)
	}
	return taken
}

// Give is that of the store's budget.
func (b *besides) Give(n int64) {
	b.budget.Give(n)
	b.tell(-n)
}

func (b *besides) tell(n int64) {
	if bytes := b.bytes.Add(n); b.changed != nil {
		b.changed(bytes)
	}
}
