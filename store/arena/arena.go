package arena

import (
	"fmt"
	"math/bits"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// Ref names an object. 0 names none.
type Ref uint32

// The units of memory; see the package comment.
const (
	ChunkSize  = 2 << 20 // the largest, and what is taken unless Options say otherwise
	pageShift  = 14
	pageSize   = 1 << pageShift
	mostPages  = ChunkSize / pageSize // of a chunk
	leastPages = 4
)

// MaxRange is the most bytes that an arena can address: 2^32 objects at 64 bytes apart.
const MaxRange = 1 << (32 + maxShift)

const (
	minShift = 4 // objects begin at multiples of 16 bytes while 64 GiB are enough
	maxShift = 6
)

// Options say how an arena is made.
type Options struct {
	// Range is how many bytes it may have, fragmentation included: at most MaxRange, rounded up to chunks. It costs
	// addresses, not memory. If the system grants fewer addresses, the arena has fewer.
	Range int64
	// Chunk is how many bytes are taken from the system, and the budget, at a time: a power of two from 64 KiB to
	// ChunkSize, which 0 stands for. Less than a huge page suits small limits.
	Chunk int64
	// Sets is how many sets of lists there are. More let more owners allocate at a time; each has, for each class, a span that is
	// not full. 0: 4.
	Sets int
	// Budget is asked for every chunk; nil: there is no limit but Range.
	Budget Budget
	// GoMemory has the memory from Go's heap, where the race detector and checkptr watch it. What is given back only
	// counts as such. Systems without mmap always have it from there, and never give it back.
	GoMemory bool
	// Poison overwrites what is freed, so that a test notices who still looks at it.
	Poison bool
}

// Budget is a limit on memory that the arena shares with others. It is called with locks held, so it takes none that is
// held while allocating.
type Budget interface {
	// Take asks for n bytes and reports whether they are granted; if must is set they are taken whatever the limit says.
	Take(n int64, must bool) bool
	// Give gives back n bytes.
	Give(n int64)
}

// Arena is memory that objects are cut from. Objects are allocated and freed through a [Heap]; everything else may be called from
// many goroutines.
type Arena struct {
	// Fixed after New.
	base    unsafe.Pointer // of the range, at a multiple of ChunkSize
	chunk   int64          // Options.Chunk
	per     int            // pages of a chunk
	shift   uint8          // a Ref counts units of 1<<shift bytes
	poison  bool
	memory  memory
	unused  runtime.Cleanup // releases the memory of an arena that nobody has any more
	budget  Budget
	classes *classes
	sets    []set

	// spans has a record for each page; see span for who guards it.
	spans []span
	// classAt has the class of each page's span; classLarge for the first page of a large object. It is a part of the shape,
	// see span, but not in spans: Free and SizeOf look at it for every object, and a byte for each page stays in the
	// processor's caches, where records of a line each don't.
	classAt []uint8
	pages   pages

	// live has, for each chunk, the bytes of its objects, those in magazines included; the compactor goes by it. They are
	// counts, and publish nothing.
	live []atomic.Int64
	// leaving is set for each chunk that is to become empty. It is stored under pages.mu, and publishes nothing: who sees it
	// late puts one more object into the chunk, which has to move too.
	leaving []atomic.Bool
}

// New makes an arena. Close it when no object of it is looked at any more.
func New(o Options) (*Arena, error) {
	if o.Range <= 0 || o.Range > MaxRange {
		return nil, fmt.Errorf("arena: a range of %d bytes; it must be above 0 and at most %d", o.Range, int64(MaxRange))
	}
	if o.Chunk == 0 {
		o.Chunk = ChunkSize
	}
	if o.Chunk < leastPages*pageSize || o.Chunk > ChunkSize || o.Chunk&(o.Chunk-1) != 0 {
		return nil, fmt.Errorf("arena: chunks of %d bytes; a power of two from %d to %d is possible",
			o.Chunk, leastPages*pageSize, ChunkSize)
	}
	if o.Sets == 0 {
		o.Sets = 4
	}
	if o.Sets < 0 || o.Sets > maxSets {
		return nil, fmt.Errorf("arena: %d sets of lists; at most %d are possible", o.Sets, maxSets)
	}
	size := (uint64(o.Range) + ChunkSize - 1) &^ (ChunkSize - 1)
	size = max(size, 2*ChunkSize) // the first page is never used
	m, size, err := reserve(size, o.GoMemory, o.Chunk == ChunkSize)
	if err != nil {
		return nil, fmt.Errorf("arena: reserve %d bytes of addresses: %w", size, err)
	}
	a := &Arena{
		base:    m.base(),
		shift:   shiftFor(size),
		poison:  o.Poison,
		memory:  m,
		budget:  o.Budget,
		sets:    make([]set, o.Sets),
		chunk:   o.Chunk,
		per:     int(o.Chunk / pageSize),
		live:    make([]atomic.Int64, size/uint64(o.Chunk)),
		leaving: make([]atomic.Bool, size/uint64(o.Chunk)),
	}
	a.classes = newClasses(1 << a.shift)
	for i := range a.sets {
		a.sets[i].lists = make([]list, len(a.classes.sizes))
	}
	if a.spans, a.classAt, err = m.records(int(size / pageSize)); err != nil {
		m.release()
		return nil, fmt.Errorf("arena: reserve the table of pages: %w", err)
	}
	a.pages.init(a, len(a.live))
	a.unused = runtime.AddCleanup(a, memory.release, m)
	return a, nil
}

// shiftFor returns the least shift with which 32 bits reach all of the range.
func shiftFor(size uint64) uint8 {
	return uint8(max(minShift, bits.Len64(size-1)-32))
}

// Close gives all memory back. No object may be looked at afterwards. An arena that becomes unreachable closes itself.
func (a *Arena) Close() {
	a.unused.Stop()
	if a.budget != nil {
		a.budget.Give(a.Figures().Resident)
	}
	a.memory.release()
}

// At returns the address of the object.
func (a *Arena) At(r Ref) unsafe.Pointer { return unsafe.Add(a.base, uintptr(r)<<(a.shift&63)) }

// Base returns what At adds up: an object r is at base + r<<shift, for as long as the arena is there.
func (a *Arena) Base() (base unsafe.Pointer, shift uint8) { return a.base, a.shift }

// Size returns how many bytes an object for n bytes takes.
func (a *Arena) Size(n int) int {
	if n > maxSmall {
		return (n + pageSize - 1) &^ (pageSize - 1)
	}
	return int(a.classes.sizes[a.classes.of(n)])
}

// ref returns the name of the object that begins at so many bytes from the base.
func (a *Arena) ref(offset uint64) Ref { return Ref(offset >> a.shift) }

func (a *Arena) offset(r Ref) uint64 { return uint64(r) << a.shift }

// Figures are an arena's, in bytes.
type Figures struct {
	Range    int64 // addresses
	Chunk    int64 // what is taken and given back at a time
	Resident int64 // chunks that are taken from the system
	Held     int64 // of these, pages that spans and large objects have
	Live     int64 // of these, objects, those that magazines hold included
	Leaving  int64 // of Resident, chunks that are to become empty
}

// Figures returns the figures; they are of one instant while nobody allocates.
func (a *Arena) Figures() Figures {
	f := Figures{Range: int64(len(a.live)) * a.chunk, Chunk: a.chunk}
	for i := range a.live {
		f.Live += a.live[i].Load()
		if a.leaving[i].Load() {
			f.Leaving += a.chunk
		}
	}
	a.pages.mu.Lock()
	defer a.pages.mu.Unlock()
	f.Resident = int64(a.pages.resident) * a.chunk
	f.Held = int64(a.pages.used) * pageSize
	return f
}
