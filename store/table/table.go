package table

import (
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"unsafe"

	"kv/store/arena"
	"kv/store/epoch"
)

const (
	shardBits  = 6
	shardCount = 1 << shardBits
	tagBits    = 8
	lineBits   = 5
	maxLines   = 1 << lineBits
	// maxDepth is the most directory bits: what is left of the hash.
	maxDepth = 64 - shardBits - tagBits - lineBits
)

// Options say how a table is made.
type Options struct {
	// Seed is that of the keys' hashes, and HashMask which of their bits count: tests clear some, so that keys collide.
	Seed     maphash.Seed
	HashMask uint64
	// Keeps says that earlier versions of keys are kept, as many as each write says. A deletion is then an entry too.
	Keeps bool
	// Marks has lookups mark what they find, so that Victims can tell what is in demand.
	Marks bool
	// Expect is how many keys there will be soon, if that is known: so many fit without growth.
	Expect int
	// Arena becomes the table's own, and is closed with it.
	Arena *arena.Arena
	// Budget is asked for the memory of large values; nil: there is no limit. LargeSize is how much that is for a key
	// and a value of so many bytes; nil: the value's length.
	Budget    arena.Budget
	LargeSize func(key, value int) int64
}

// Table is a hash table. Readers use a [Reader] each; writers lock a [Shard].
type Table struct {
	// Fixed after New. What every lookup looks at is in front, on a line that nobody stores to.
	base   unsafe.Pointer // of the arena; base and shift are its At: see [arena.Arena.Base]
	shift  uint8
	marks  bool
	keeps  bool
	hasher hasher
	arena  *arena.Arena

	// roots has for each shard where its directory is and, in the low 8 bits, by how much a hash is shifted to get an
	// index: one word, so that both change together. An atomic store, under the shard's lock, publishes a directory whose
	// segments are in place.
	roots [shardCount]atomic.Uint64

	// Fixed, too.
	epochs      *epoch.Domain
	budget      arena.Budget
	sizeOfLarge func(key, value int) int64

	// loading says that segments grow whatever the budget says, and alone that nobody reads meanwhile. They are stored
	// with all shards locked.
	loading, alone bool

	shards [shardCount]Shard
	larges larges

	compacting sync.Mutex // held by the one that compacts
}

// Shard is the part of a table that one writer changes at a time. What its methods return holds while it is locked.
type Shard struct {
	// mu guards the rest, of which readers look at slots alone, and all stores to the shard's root, directory, segments and
	// lines.
	mu    sync.Mutex
	table *Table
	index int
	heap  *arena.Heap
	limbo epoch.Limbo
	// kept is how many earlier versions are in rings, and keptBytes what these and the rings take.
	kept, keptBytes int64
	// retiredSince is how many bytes went to limbo since the epoch was last asked to move.
	retiredSince int
	retiredNow   int // objects since the last Reclaim
	hand         hand
	slots        slots
}

// New makes an empty table.
func New(o Options) (*Table, error) {
	t := &Table{
		arena: o.Arena, epochs: epoch.New(), hasher: newHasher(o.Seed, o.HashMask),
		keeps: o.Keeps, budget: o.Budget, marks: o.Marks,
	}
	t.base, t.shift = o.Arena.Base()
	if t.sizeOfLarge = o.LargeSize; t.sizeOfLarge == nil {
		t.sizeOfLarge = func(_, value int) int64 { return int64(value) }
	}
	for i := range t.shards {
		sh := &t.shards[i]
		sh.table, sh.index, sh.heap = t, i, o.Arena.Heap(i)
		if !sh.start(o.Expect / shardCount) {
			return nil, fmt.Errorf("table: no memory for its first segments")
		}
	}
	return t, nil
}

// start gives the shard segments with room for so many keys.
func (sh *Shard) start(keys int) bool {
	depth, lines := uint8(0), 1
	for keys>>depth > lines*fullAt*3/4 && depth < maxDepth {
		if lines < maxLines {
			lines *= 2
		} else {
			depth++
		}
	}
	d, ok := sh.newDirectory(depth, true)
	if !ok {
		return false
	}
	for i := range 1 << depth {
		g, ok := sh.newSegment(lines, depth, true)
		if !ok {
			return false
		}
		d.word(i).Store(g.word(sh.table))
	}
	sh.root().Store(d.root(sh.table))
	return true
}

// Close frees all memory. No reader may be left.
func (t *Table) Close() { t.arena.Close() }

// Hash returns the hash of a key, which most methods want. Its bits are all alike random.
func (t *Table) Hash(key []byte) uint64 { return t.hash(key) }

func (t *Table) hash(key []byte) uint64 { return t.hasher.hash(key) }

// ShardOf returns the index of the shard that a hash belongs to; [Table.Shard] has it.
func ShardOf(h uint64) int { return int(h >> (64 - shardBits)) }

// Shard returns the shard with this index. Several are locked in rising order.
func (t *Table) Shard(i int) *Shard { return &t.shards[i] }

// Shards is how many shards a table has.
const Shards = shardCount

// Lock locks the shard.
func (sh *Shard) Lock() { sh.mu.Lock() }

// Unlock unlocks it.
func (sh *Shard) Unlock() { sh.mu.Unlock() }

func (sh *Shard) root() *atomic.Uint64 { return &sh.table.roots[sh.index] }

func (t *Table) at(r arena.Ref) unsafe.Pointer { return unsafe.Add(t.base, uintptr(r)<<(t.shift&63)) }

// Roots and directories have offsets from the base, in bytes, instead of references: that spares lookups a shift. offset and
// refOf turn one into the other, and place returns an offset's address.
func (t *Table) offset(r arena.Ref) uint64 { return uint64(r) << (t.shift & 63) }

func (t *Table) refOf(offset uint64) arena.Ref { return arena.Ref(offset >> (t.shift & 63)) }

func (t *Table) place(offset uint64) unsafe.Pointer { return unsafe.Add(t.base, offset) }

func tagOf(h uint64) uint8 { return uint8(h >> lineBits) }

// Index returns which shard it is.
func (sh *Shard) Index() int { return sh.index }
