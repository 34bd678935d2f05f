package main

import (
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"unsafe"
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
	// limitPercent is where GOMEMLIMIT is, in percent of --max-memory: the room, and stacks, buffers and the runtime itself.
	// Above it the collector works as hard as it must.
	limitPercent = 125
)

// collectorPercent is the GOGC for a heap of which so many bytes are alive.
func collectorPercent(live uint64) int {
	percent := uint64(maxPercent)
	if live > 0 {
		percent = min(percent, 100*roomBytes/live)
	}
	return int(max(percent, roomPercent))
}

// limitHeap sets GOMEMLIMIT for a store of maxMemory bytes, and the collector's pace for loading it, until undo is called.
func limitHeap(maxMemory int64) (undo func()) {
	limit := int64(math.MaxInt64)
	if maxMemory < math.MaxInt64/limitPercent {
		limit = maxMemory / 100 * limitPercent
	}
	limit = debug.SetMemoryLimit(limit)
	percent := debug.SetGCPercent(maxPercent)
	return func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
	}
}

// tuneCollector keeps the collector's pace in step with the heap until stop is called, which puts back what was before. It
// is for a store that is loaded; what room the loading took is given back to the system.
func tuneCollector(log *slog.Logger) (stop func()) {
	t := &tuner{log: log}
	t.live[0].Name = "/gc/heap/live:bytes"
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
	log     *slog.Logger // fixed
	stopped atomic.Bool  // publishes nothing

	// The finalizer goroutine's alone, once watch was called.
	percent int
	live    [1]metrics.Sample

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
	metrics.Read(t.live[:])
	live = t.live[0].Value.Uint64()
	percent := collectorPercent(live)
	if 10*max(percent-t.percent, t.percent-percent) > t.percent {
		debug.SetGCPercent(percent)
		t.percent = percent
	}
	return live
}
