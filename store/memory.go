package store

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"kv/store/arena"
	"kv/store/table"
)

// maxSmall is the largest object that Go's allocator rounds up to a size class; above, it rounds up to pages.
const (
	maxSmall = 32 << 10
	pageSize = 8 << 10
)

// classes maps (n+7)/8 to the bytes that the allocator takes for an object of n bytes without pointers, learned from the
// allocator itself: append grows a slice to all of its class.
var classes = func() (t [maxSmall/8 + 1]uint16) {
	class := 0
	for i := range t {
		if n := i * 8; n > class {
			class = cap(append([]byte(nil), make([]byte, n)...))
		}
		t[i] = uint16(class)
	}
	return t
}()

// allocated returns the memory that an object of n bytes takes.
func allocated(n int) int64 {
	if n <= maxSmall-8 {
		return int64(classes[(n+7)/8])
	}
	return int64(n+pageSize-1) &^ (pageSize - 1)
}

// entryMemory returns the memory that an Entry takes whose key and value have so many bytes.
func entryMemory(key, value int) int64 { return allocated(entryHeader + expirySize + key + value) }

// demand is about how much memory entries take.
type demand struct {
	bytes int64
	large int64 // of bytes, that of large values: it is a part of the limit by itself, where small entries share chunks
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

// budget is the memory that the store has taken: chunks of the arena, large values, and calendars. It is the arena's Budget.
type budget struct {
	limit    int64 // 0: none
	reserve  int64 // of limit, for what must be taken: where memory is brought together so often that it counts
	used     atomic.Int64
	withheld atomic.Int64 // of limit; publishes nothing
	others   atomic.Int64 // what other replicas may take, where that is less than limit; 0: it is not. Publishes nothing
}

// LimitTo says that no write is to be taken for which another replica, which takes what this one took, has no room: it
// may take no more than so many bytes, as Options.MaxMemory has them; 0: it may take as much as this one.
func (s *Store) LimitTo(bytes int64) { s.budget.others.Store(bytes) }

// most is the limit, 0: none.
func (b *budget) most() int64 {
	if others := b.others.Load(); others > 0 && (b.limit == 0 || others < b.limit) {
		return others
	}
	return b.limit
}

// Withhold says that so many bytes of the limit must not be used, since the process takes that memory otherwise, in holes between
// objects for one; 0: all may be used.
func (s *Store) Withhold(bytes int64) { s.budget.withheld.Store(bytes) }

// Take adds n bytes and reports whether the limit allows it; if not, nothing is added, unless must is set.
func (b *budget) Take(n int64, must bool) bool {
	limit := b.most()
	if n <= 0 || limit == 0 || must {
		b.used.Add(n)
		return true
	}
	for {
		// Not added first and taken back then: meanwhile others would be refused.
		used := b.used.Load()
		if used+n > limit-b.reserve-b.withheld.Load() {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// over reports whether more is taken than the limit, by what is never refused.
func (b *budget) over() bool {
	limit := b.most()
	return limit > 0 && b.used.Load() > limit
}

// has reports whether n bytes could be taken now.
func (b *budget) has(n int64) bool {
	limit := b.most()
	return limit == 0 || b.used.Load()+n <= limit-b.reserve-b.withheld.Load()
}

// Give gives back n bytes.
func (b *budget) Give(n int64) { b.used.Add(-n) }

// besides is the arena's budget: the store's, and the count of what lies beside Go's heap.
type besides struct {
	*budget
	bytes   atomic.Int64
	changed func(bytes int64) // nil: nobody wants to know
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

// memoryFor returns how a store with this limit has its memory. Where that is small, it is taken a little at a time,
// and all shards share what is there for each size of objects. Under the race detector what is freed is overwritten.
func memoryFor(limit int64) arena.Options {
	o := arena.Options{Range: rangeFor(limit), Poison: raceEnabled}
	if limit > 0 && limit < 64<<20 {
		o.Chunk, o.Sets = 64<<10, 1
	}
	return o
}

// rangeFor returns how many bytes of addresses an arena needs for a limit: fragmentation is within the limit, and what
// can't be refused beyond.
func rangeFor(limit int64) int64 {
	const most = 64 << 30
	if limit == 0 {
		return most
	}
	return min(limit+limit/4+64<<20, arena.MaxRange)
}

// refuses reports whether there is no memory for the large ones of these values, nor anything that would be given up for
// them: then they are not even copied, since where many are refused the copies would take more memory than the collector
// has room for. Values that make no key's longer are not refused, and of equal keys one value counts.
func (s *Store) refuses(pairs []Pair) bool {
	if s.evicts || s.keeps {
		return false
	}
	all := int64(0)
	for _, p := range pairs {
		if table.IsLarge(len(p.Value)) {
			all += entryMemory(len(p.Key), len(p.Value))
		}
	}
	if all == 0 || s.budget.has(all) {
		return false
	}
	need := make(map[string]int64)
	for _, p := range pairs {
		if n := len(p.Value); table.IsLarge(n) && !s.holds(p.Key, n) {
			size := entryMemory(len(p.Key), n)
			if old, twice := need[string(p.Key)]; !twice || size < old {
				need[string(p.Key)] = size
			}
		}
	}
	all = 0
	for _, n := range need {
		all += n
	}
	return all > 0 && !s.budget.has(all) && (s.replica != nil || !s.roomy(all))
}

// holds reports whether key has a value of n bytes or more, in whose place one of n bytes is never refused: see mustFit.
func (s *Store) holds(key []byte, n int) bool {
	if s.replica != nil {
		return false // a proposal is beside what it replaces until it is applied
	}
	h := s.hash(key)
	sh := s.shardOf(h)
	sh.Lock()
	defer sh.Unlock()
	p := sh.Find(h, key)
	e := p.Entry()
	return e.Exists() && !e.Deleted() && n <= e.Len()
}

// hopeless reports whether n more bytes would not fit even if all history were given up, or only if no fragments were left.
func (s *Store) hopeless(n int64) bool {
	limit := s.budget.most()
	if limit == 0 {
		return false
	}
	return s.inUse()-s.pastBytes()+n > limit-limit/16
}

// pastBytes returns how many bytes history takes.
func (s *Store) pastBytes() (n int64) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.Lock()
		_, bytes := sh.Kept()
		sh.Unlock()
		n += bytes
	}
	return n
}

// roomy reports whether there is room for n more bytes, but scattered, and it is not known that it can't be brought together.
func (s *Store) roomy(n int64) bool {
	f := s.table.Figures()
	return f.Used-f.Limbo+n < s.budget.limit-s.budget.limit/32 && f.Used < s.vain.Load()-f.Arena.Chunk
}

// inUse returns the bytes of the limit that something needs: neither fragments nor what only waits until no reader looks at it.
func (s *Store) inUse() int64 {
	f := s.table.Figures()
	return f.Used - f.Limbo
}

const (
	// compactEvery is how often memory that is thinly used is made into memory that is not used, and given back, in sweeps.
	compactEvery = 4
	// compactBytes bounds what is moved at a time.
	compactBytes = 64 << 20
	// mostTidied is how often one write has memory tidied up for itself.
	mostTidied = 3
)

// tidy gives back the memory that is not needed any more; for who is short of memory now, all of it, for which it waits
// until nobody can be looking at what is not there any more.
func (s *Store) tidy(short bool) {
	most := int64(compactBytes)
	switch {
	case short:
		most = math.MaxInt64
		s.table.Settle(heldLong - s.held())
	case s.freeing():
		most = 0 // segments that hold little are given fewer lines all the same
	}
	s.table.Compact(most)
	switch given := s.table.Scavenge(!short); {
	case given > 0:
		s.vain.Store(math.MaxInt64)
	case short:
		s.vain.Store(s.table.Figures().Used) // until something is freed, all others need not try
	}
	if !s.budget.over() {
		s.overrun.next.Store(0)
	}
}

// overShare is how much more than the limit, of that, is taken before memory is tidied up again for what is never refused.
const overShare = 32

// overrun is what keeps that within bounds: values that get smaller, here and there, leave room that nothing fits in.
type overrun struct {
	tidying sync.Mutex   // held by the one who tidies up for it; others go on
	next    atomic.Int64 // from how many bytes on to tidy up again; publishes nothing
}

// tidyOver tidies up, if since it did so much more is taken beyond the limit.
func (s *Store) tidyOver() {
	o := &s.overrun
	if s.budget.used.Load() < o.next.Load() || !o.tidying.TryLock() {
		return
	}
	defer o.tidying.Unlock()
	s.tidy(true)
	o.next.Store(s.budget.used.Load() + s.budget.limit/overShare)
}

const (
	// While memory is being freed, and more than looseEnough of what is resident is in use, it is not compacted yet:
	// what is moved today may be gone tomorrow, and the fuller the chunks, the more there is to move for each that gets
	// empty.
	looseEnough = 0.6
	// freeingShare is of what part of what is resident more has to be free than a moment ago for that.
	freeingShare = 256
)

// freeing reports whether compaction has better wait. sweeping is held.
func (s *Store) freeing() bool {
	f := s.table.Figures().Arena
	free := f.Resident - f.Live
	more := free - s.free
	s.free = free
	return more > f.Resident/freeingShare && float64(f.Live) > looseEnough*float64(f.Resident)
}

// held returns for how long, at least, a reader has kept memory from being used again; see readers.
func (s *Store) held() time.Duration {
	_, held := s.table.Held()
	return held
}
