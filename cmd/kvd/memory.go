package main

import (
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"kv/store"
)

// The collector's pace. Go lets the heap grow by GOGC percent of what is alive before it collects again, and 100 percent
// would make every key cost twice its size. So the room is a share of the heap that gets smaller as the heap grows: a
// small heap is collected rarely, a large one keeps its resident memory near what is alive. What that costs is
// collections; almost nothing of the store's heap has pointers, so they are cheap.
const (
	// roomBytes is the room that a heap of any size has.
	roomBytes = 20 << 20
	// roomPercent is the least room that a large heap has.
	roomPercent = 13
	// maxPercent is the most room: that of a small heap, and of one that is loaded, which only grows, so that collections
	// would be in vain.
	maxPercent = 400
	// hugeFrom is the heap from which on it is moved to huge pages; a small one would only get larger.
	hugeFrom = 64 << 20
	// limitPercent and limitBytes are where GOMEMLIMIT is, in percent of --max-memory and on top of that: the room, stacks,
	// and the runtime itself. Above it the collector works as hard as it must. It never is above what is granted less what
	// the system needs for the process.
	limitPercent = 125
	limitBytes   = 32 << 20
)

// collectorPercent is the GOGC for a heap of which so many bytes are alive.
func collectorPercent(live uint64) int {
	percent := uint64(maxPercent)
	if live > 0 {
		percent = min(percent, 100*roomBytes/live)
	}
	return int(max(percent, roomPercent))
}

// systemBytes is what of the memory that is granted the system takes for the process outside of Go's sight: sockets, page
// tables, files that are being written.
func systemBytes(granted int64) int64 { return min(max(granted/16, 8<<20), 256<<20) }

// heapLimit is GOMEMLIMIT for so much --max-memory where so much is granted to the process.
func heapLimit(maxMemory, granted int64) int64 {
	limit := int64(math.MaxInt64)
	if maxMemory < math.MaxInt64/limitPercent {
		limit = maxMemory/100*limitPercent + limitBytes
	}
	return min(limit, granted-systemBytes(granted))
}

// limitHeap sets GOMEMLIMIT, and the collector's pace for loading, until undo is called.
func limitHeap(limit int64) (undo func()) {
	limit = debug.SetMemoryLimit(limit)
	percent := debug.SetGCPercent(maxPercent)
	return func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
	}
}

// tuneCollector keeps the collector's pace in step with the heap until stop is called, which puts back what was before. It
// is for a store that is loaded; what room the loading took is given back to the system. after is called after each collection.
func tuneCollector(log *slog.Logger, after ...func()) (stop func()) {
	t := &tuner{log: log, after: after}
	before := debug.SetGCPercent(maxPercent)
	t.percent = maxPercent
	go debug.FreeOSMemory() // collects first, which sets the pace
	t.watch()
	return func() {
		t.stopped.Store(true)
		debug.SetGCPercent(before)
	}
}

// tuner looks after the heap after each collection.
type tuner struct {
	after   []func()     // fixed
	log     *slog.Logger // fixed
	stopped atomic.Bool  // publishes nothing

	// The finalizer goroutine's alone, once watch was called.
	percent int

	huge       hugePages
	hugeFailed sync.Once
}

// sentinel is garbage from the start: its finalizer runs after each collection, and makes it garbage anew.
type sentinel struct{ tuner *tuner }

func (t *tuner) watch() {
	runtime.SetFinalizer(&sentinel{t}, (*sentinel).collected)
}

func (s *sentinel) collected() {
	if s.tuner.stopped.Load() {
		return
	}
	live := s.tuner.adjust()
	for _, f := range s.tuner.after {
		f()
	}
	if live >= hugeFrom {
		// Beside the program, and not in the goroutine of all finalizers: moving takes its time.
		go func(t *tuner, address uintptr) {
			if err := t.huge.cover(address); err != nil {
				t.hugeFailed.Do(func() { t.log.Warn("the heap stays on small pages", "error", err) })
			}
		}(s.tuner, uintptr(unsafe.Pointer(s)))
	}
	runtime.SetFinalizer(s, (*sentinel).collected)
}

// adjust sets GOGC for the heap that the last collection left, and returns its size. To set it stops the world, so small
// changes wait.
func (t *tuner) adjust() (live uint64) {
	live = uint64(goMemoryNow().live)
	percent := collectorPercent(live)
	if 10*max(percent-t.percent, t.percent-percent) > t.percent {
		debug.SetGCPercent(percent)
		t.percent = percent
	}
	return live
}

// How memory that was freed gets back to the system: the collector would find it at its next turn, which on an idle server is
// minutes away, and then return it slowly.
const (
	freedEvery = time.Second     // how often it is looked for
	freedLeast = 16 << 20        // what is worth a collection
	freedPause = 3 * time.Second // between two collections for it, at least
	freedShare = 20              // and one part of so many of the time

	// Where nothing is allocated for so many looks, but for a few bytes, there is no use for room.
	restLooks = 3
	restBytes = 512 << 10
	restLeast = 4 << 20 // what is worth a collection then
)

// freed notices when the heap has much more memory than is used.
type freed struct {
	left  uint64 // what it had beyond that after the last return, or has had at least since: holes that can't be returned
	after time.Time
	rest  int    // for how many looks there was hardly a change
	since uint64 // what it had beyond at the first of them
	// still is as left, of the last return at rest, which frees what pools keep as well.
	still uint64
}

// resting reports whether nothing goes on.
func (f *freed) resting() bool { return f.rest >= restLooks }

// due reports whether a heap of so many bytes, of which so many are used, has more than its room, or at rest more than
// a little, and more than the last return could not help.
func (f *freed) due(heap, used uint64, now time.Time) bool {
	extra := heap - min(heap, used)
	f.left, f.still = min(f.left, extra), min(f.still, extra)
	if f.rest++; max(extra, f.since)-min(extra, f.since) > restBytes {
		f.rest, f.since = 0, extra
	}
	if now.Before(f.after) {
		return false
	}
	if f.resting() {
		return extra >= f.still+restLeast
	}
	return extra >= max(roomBytes, used/100*roomPercent)+freedLeast && extra >= f.left+freedLeast
}

// returned notes what the heap has after memory was returned, which took so long.
func (f *freed) returned(heap, used uint64, now time.Time, took time.Duration) {
	f.left, f.after = heap-min(heap, used), now.Add(max(freedPause, freedShare*took))
	if f.resting() {
		f.still = f.left
	}
}

// returnFreed returns freed memory to the system until stop is called. used says how much is used.
func returnFreed(used func() uint64) (stop func()) {
	done := make(chan struct{})
	heapNow := func() uint64 { return uint64(goMemoryNow().heap()) }
	go func() {
		tick := time.NewTicker(freedEvery)
		defer tick.Stop()
		for f := (freed{}); ; {
			select {
			case <-done:
				return
			case now := <-tick.C:
				if f.due(heapNow(), used(), now) {
					if f.resting() {
						runtime.GC() // what a [sync.Pool] has survives one collection: the buffers of large requests
					}
					debug.FreeOSMemory()
					f.returned(heapNow(), used(), time.Now(), time.Since(now))
				}
			}
		}
	}()
	return func() { close(done) }
}

// keepWithin returns what to call after each collection so that the store does not grow beyond what is granted, though
// Go's heap, where large values are, has holes: those between the objects that are left of many, where larger ones do
// not fit. It withholds what is free of the store's limit of data bytes as long as heap and store are within a
// twentieth of what the process may have.
func keepWithin(st *store.Store, data, granted int64, beside func() int64, log *slog.Logger) func() {
	most := granted - systemBytes(granted)
	withheld := false
	return func() {
		now := goMemoryNow()
		taken := now.resident() - now.free + beside()
		switch {
		case taken > most/20*19:
			st.Withhold(max(0, data-int64(st.Stats().MemoryBytes)))
			if !withheld {
				log.Warn("writes that take memory are refused: the heap is full of holes",
					"taken", size(taken>>20<<20).String(), "granted", size(granted).String())
			}
			withheld = true
		case withheld && taken < most/10*9:
			st.Withhold(0)
			withheld = false
		}
	}
}

// heapShare keeps GOMEMLIMIT at --max-memory less the data that lie beside Go's heap, so that garbage, and what is free
// between large values, is part of --max-memory. Where the living objects would leave the collector less room than it
// needs, the limit is higher, up to the memory of the process; so it is while data are loaded.
type heapShare struct {
	all     int64         // what the process may have, for both
	within  int64         // --max-memory, and what Go has at all times
	bytes   atomic.Int64  // beside the heap; publishes nothing
	needs   atomic.Int64  // what was alive after the last collection, with the collector's room; 0: data are loaded; publishes nothing
	changed chan struct{} // has something when one of them may have changed since GOMEMLIMIT was set
}

const (
	// leastHeap is the least GOMEMLIMIT.
	leastHeap = 32 << 20
	// heapUp and heapDown are by how much it has to change before it is set: to set it stops the world.
	heapUp   = 8 << 20
	heapDown = 2 << 20
)

func newHeapShare(maxMemory, all int64) *heapShare {
	return &heapShare{all: all, within: min(maxMemory, all) + idleHeap, changed: make(chan struct{}, 1)}
}

// limit returns what GOMEMLIMIT is to be.
func (h *heapShare) limit() int64 {
	beside, needs := h.bytes.Load(), h.needs.Load()
	most := max(h.all-beside, leastHeap)
	if needs == 0 {
		return most
	}
	return min(most, max(h.within-beside, needs, leastHeap))
}

// collected is to be called after each collection.
func (h *heapShare) collected() {
	now := goMemoryNow()
	others := now.resident() - now.objects - now.unused - now.free
	h.needs.Store(now.live + max(roomBytes, now.live/100*roomPercent) + max(others, 0))
	h.change()
}

// idleHeap is how much of the system's memory Go's heap, and what goes with it, takes at all times. It is not counted.
const idleHeap = 6 << 20

// uncounted returns what of Go's heap is neither counted, nor there at all times: garbage, and what is free and not given back.
func (h *heapShare) uncounted(counted int64) int64 {
	return max(goMemoryNow().resident()-(counted-h.bytes.Load())-idleHeap, 0)
}

// beside is told how many bytes lie beside the heap, at any time and from anywhere.
func (h *heapShare) beside(bytes int64) {
	h.bytes.Store(bytes)
	h.change()
}

func (h *heapShare) change() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// keep has GOMEMLIMIT follow until stop is called.
func (h *heapShare) keep() (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for last := h.all; ; {
			select {
			case <-done:
				return
			case <-h.changed:
			}
			if now := h.limit(); now >= last+heapUp || now <= last-heapDown {
				debug.SetMemoryLimit(now)
				last = now
			}
		}
	}()
	return func() {
		close(done)
		<-stopped
	}
}
