package arena

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// forms are the memories that everything is tried with; under the race detector, those that it can watch.
func forms(t *testing.T, f func(t *testing.T, o Options)) {
	for name, useGo := range map[string]bool{"mapped": false, "Go memory": true} {
		if race && !useGo {
			continue
		}
		t.Run(name, func(t *testing.T) { f(t, Options{Range: 64 << 20, GoMemory: useGo, Poison: true}) })
	}
}

func open(t *testing.T, o Options) *Arena {
	a, err := New(o)
	require.NoError(t, err)
	t.Cleanup(a.Close)
	return a
}

// bytes returns n bytes of the object.
func (a *Arena) bytes(r Ref, n int) []byte { return unsafe.Slice((*byte)(a.At(r)), n) }

// owner has objects of a heap, each filled with a byte of its own, so that one that overlaps another is noticed.
type owner struct {
	t    *testing.T
	heap *Heap
	has  map[Ref]int // bytes that were asked for
	all  []Ref
	rand *rand.Rand
}

func newOwner(t *testing.T, a *Arena, number int) *owner {
	return &owner{t: t, heap: a.Heap(number), has: make(map[Ref]int), rand: rand.New(rand.NewPCG(1, uint64(number)))}
}

func (o *owner) alloc(n int) bool {
	r, ok := o.heap.Alloc(n)
	if !ok {
		return false
	}
	if _, twice := o.has[r]; twice || r == 0 {
		require.Failf(o.t, "an object is handed out twice", "%#x", r)
	}
	o.has[r] = n
	o.all = append(o.all, r)
	o.fill(r, n)
	return true
}

func (o *owner) fill(r Ref, n int) {
	b := o.heap.arena.bytes(r, n)
	copy(b, bytes.Repeat([]byte{byte(r)}, n))
}

func (o *owner) free(i int) {
	r := o.all[i]
	o.look(r)
	o.all[i] = o.all[len(o.all)-1]
	o.all = o.all[:len(o.all)-1]
	delete(o.has, r)
	o.heap.Free(r)
}

func (o *owner) look(r Ref) {
	if b := o.heap.arena.bytes(r, o.has[r]); bytes.Count(b, []byte{byte(r)}) != len(b) {
		require.Failf(o.t, "an object was overwritten", "object %#x of %d bytes: % x", r, len(b), b)
	}
}

// move copies what lies in chunks that are to become empty, as the owner of a map would.
func (o *owner) move() (moved int64) {
	o.heap.Flush()
	for i, r := range o.all {
		if !o.heap.arena.Leaving(r) {
			continue
		}
		o.look(r)
		n := o.has[r]
		to, ok := o.heap.MustAlloc(n)
		require.True(o.t, ok)
		delete(o.has, r)
		o.has[to], o.all[i] = n, to
		o.fill(to, n)
		o.heap.Free(r)
		moved += int64(o.heap.arena.Size(n))
	}
	return moved
}

func check(t *testing.T, a *Arena, owners ...*owner) {
	var heaps []*Heap
	for _, o := range owners {
		heaps = append(heaps, o.heap)
	}
	require.NoError(t, a.Check(heaps, func(yield func(Ref, int) bool) {
		for _, o := range owners {
			for r, n := range maps.All(o.has) {
				if !yield(r, n) {
					return
				}
			}
		}
	}))
}

func TestClasses(t *testing.T) {
	require.EqualValues(t, 64, unsafe.Sizeof(span{}))
	require.EqualValues(t, 64, unsafe.Sizeof(list{}))
	for _, unit := range []int{16, 32, 64} {
		c := newClasses(unit)
		require.Less(t, len(c.sizes), int(classLarge))
		last := 0
		for class, size := range c.sizes {
			s := c.shape[class]
			require.Zero(t, int(size)%unit)
			require.EqualValues(t, class, c.of(int(size)))
			require.EqualValues(t, class, c.of(last+1))
			require.LessOrEqual(t, int(s.objects)*int(size), int(s.pages)*pageSize)
			require.LessOrEqual(t, int(s.objects), spanObjects)
			assert.LessOrEqual(t, int(s.pages)*pageSize-int(s.objects)*int(size), int(s.pages)*pageSize/8, "size %d", size)
			for i := range int(s.objects) {
				require.EqualValues(t, i, uint64(i)*uint64(size)*uint64(s.inverse)>>32, "size %d", size)
			}
			last = int(size)
		}
		require.Equal(t, maxSmall, last)
		require.EqualValues(t, 0, c.of(0))
	}
	for n := 64; n <= 1024; n += 64 {
		c := newClasses(16)
		require.EqualValues(t, n, c.sizes[c.of(n)], "objects of whole lines begin at a line")
	}
}

func TestShift(t *testing.T) {
	for size, want := range map[uint64]uint8{ChunkSize: 4, 64 << 30: 4, 64<<30 + 1: 5, 128 << 30: 5, 256 << 30: 6} {
		require.Equal(t, want, shiftFor(size), "%d", size)
	}
}

func TestWrongOptions(t *testing.T) {
	for _, o := range []Options{{}, {Range: -1}, {Range: MaxRange + 1}, {Range: 1, Sets: -1}, {Range: 1, Sets: maxSets + 1}, {Range: 1, Chunk: 1}, {Range: 1, Chunk: 3 << 16}, {Range: 1, Chunk: 2 * ChunkSize}} {
		_, err := New(o)
		require.Error(t, err, "%+v", o)
	}
}

// Objects of all sizes, allocated and freed at random by several owners.
func TestRandom(t *testing.T) {
	forms(t, random)
}

func TestRandomInSmallChunks(t *testing.T) {
	forms(t, func(t *testing.T, options Options) {
		options.Chunk = 64 << 10
		random(t, options)
	})
}

func random(t *testing.T, options Options) {
	a := open(t, options)
	var owners []*owner
	for i := range 6 { // more than there are sets
		owners = append(owners, newOwner(t, a, i))
	}
	steps := 40_000
	if race {
		steps = 8000
	}
	for step := range steps {
		o := owners[step%len(owners)]
		n := 1 << o.rand.IntN(17)
		if o.rand.IntN(1000) == 0 {
			n = 1 << (17 + o.rand.IntN(6)) // beyond a chunk too
		}
		n += o.rand.IntN(n)
		if grow := step < steps/2; len(o.all) > 0 && o.rand.IntN(100) < 45+10*btoi(!grow) {
			o.free(o.rand.IntN(len(o.all)))
		} else {
			o.alloc(n) // refused once the range is full
		}
		if step%(steps/4) == 0 {
			check(t, a, owners...)
		}
	}
	check(t, a, owners...)
	for _, o := range owners {
		for len(o.all) > 0 {
			o.free(0)
		}
		o.heap.Flush()
		require.Zero(t, o.heap.Used())
	}
	check(t, a, owners...)
	require.Zero(t, a.Figures().Live)
	require.Less(t, a.Figures().Held, int64(4*len(a.classes.sizes)*maxSpanPages*pageSize), "a span a list, at most")
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestNext(t *testing.T) {
	h := open(t, Options{Range: 64 << 20}).Heap(0)
	require.Zero(t, h.Next(60), "nothing is at hand yet")
	require.Zero(t, h.Next(maxSmall+1), "pages are not")
	for range 3*magazineSize + 1 {
		next := h.Next(60)
		r, ok := h.Alloc(60)
		require.True(t, ok)
		if next != 0 {
			require.Equal(t, next, uintptr(h.arena.At(r)))
		}
	}
	require.NotZero(t, h.Next(60))
}

func TestEmptyObject(t *testing.T) {
	a := open(t, Options{Range: 1, GoMemory: race})
	h := a.Heap(0)
	r, ok := h.Alloc(0)
	require.True(t, ok)
	require.Equal(t, minSize, a.SizeOf(r))
}

// What is larger than a chunk takes whole ones, and leaves the rest of the last to others.
func TestLarge(t *testing.T) {
	forms(t, func(t *testing.T, options Options) {
		a := open(t, options)
		o := newOwner(t, a, 0)
		for _, n := range []int{maxSmall + 1, ChunkSize - pageSize, ChunkSize, ChunkSize + 1, 5*ChunkSize + 3*pageSize} {
			require.True(t, o.alloc(n), "%d", n)
			require.Zero(t, uint64(a.offset(o.all[len(o.all)-1]))%pageSize)
		}
		check(t, a, o)
		require.False(t, o.alloc(64<<20), "more than the range")
		f := a.Figures()
		require.Less(t, f.Resident, int64(14*ChunkSize))
		for len(o.all) > 0 {
			o.free(len(o.all) - 1)
		}
		check(t, a, o)
		require.Zero(t, a.Figures().Held)
		require.Equal(t, f.Resident, a.Figures().Resident)
		require.True(t, o.alloc(5*ChunkSize))
		require.Equal(t, f.Resident, a.Figures().Resident, "what was freed is used again")
	})
}

func TestFreedTwice(t *testing.T) {
	a := open(t, Options{Range: 1, GoMemory: race})
	h := a.Heap(0)
	r, _ := h.Alloc(maxSmall) // of a class without a magazine
	s, _ := h.Alloc(maxSmall)
	h.Free(r)
	require.PanicsWithValue(t, "arena: an object is freed twice", func() { h.Free(r) })
	_ = s
}

// limit is a budget of so many bytes.
type limit struct{ left int64 }

func (l *limit) Take(n int64, must bool) bool {
	if !must && n > l.left {
		return false
	}
	l.left -= n
	return true
}

func (l *limit) Give(n int64) { l.left += n }

func TestBudget(t *testing.T) {
	forms(t, func(t *testing.T, options Options) {
		l := &limit{3 * ChunkSize}
		options.Budget = l
		a, err := New(options)
		require.NoError(t, err)
		o := newOwner(t, a, 0)
		require.False(t, o.alloc(4*ChunkSize), "more than the budget in one go")
		for o.alloc(1000) {
		}
		require.Zero(t, l.left)
		full := len(o.all)
		require.InDelta(t, 3*ChunkSize/1024, full, 40)
		check(t, a, o)

		o.free(0)
		require.True(t, o.alloc(1000), "what is freed can be had")
		require.False(t, o.alloc(1000))
		r, ok := o.heap.MustAlloc(1000)
		require.True(t, ok)
		require.EqualValues(t, -ChunkSize, l.left)
		o.heap.Free(r)
		for len(o.all) > 0 {
			o.free(0)
		}
		o.heap.Flush()
		if !options.GoMemory {
			require.EqualValues(t, ChunkSize, a.Scavenge(true), "of two that are empty one is kept")
			require.Zero(t, l.left)
		}
		a.Close()
		require.EqualValues(t, 3*ChunkSize, l.left, "all is given back")
	})
}

func TestRangeIsUsedUp(t *testing.T) {
	a := open(t, Options{Range: 4 << 20, GoMemory: race})
	h := a.Heap(0)
	for {
		if _, ok := h.MustAlloc(100); !ok {
			break
		}
	}
	f := a.Figures()
	require.Equal(t, f.Range, f.Resident)
	_, ok := h.Alloc(100)
	require.False(t, ok)
	_, ok = h.Alloc(maxSmall + 1)
	require.False(t, ok)
}

// Values of all sizes come and go, and then all is small again: what stays is scattered over all chunks.
func TestCompact(t *testing.T) {
	forms(t, func(t *testing.T, options Options) {
		a := open(t, options)
		var owners []*owner
		for i := range 4 {
			owners = append(owners, newOwner(t, a, i))
		}
		for _, o := range owners {
			for range 12_000 {
				o.alloc(1 + o.rand.IntN(2048))
			}
			for i := len(o.all) - 1; i >= 0; i-- {
				if o.rand.IntN(10) > 0 {
					o.free(i)
				}
			}
		}
		before := a.Figures()
		require.Greater(t, float64(before.Resident), 5*float64(before.Live))
		check(t, a, owners...)

		for range 10 {
			leaving := a.BeginCompact(64 << 20)
			if leaving == 0 {
				break
			}
			require.Positive(t, a.Figures().Leaving)
			moved := int64(0)
			for _, o := range owners {
				moved += o.move()
				require.False(t, slices.ContainsFunc(o.all, a.Leaving))
			}
			require.Positive(t, moved)
			require.Positive(t, a.EndCompact())
			require.Zero(t, a.Figures().Leaving)
			check(t, a, owners...)
			a.Scavenge(true)
			check(t, a, owners...)
		}
		after := a.Figures()
		require.Less(t, float64(after.Held), 1.4*float64(after.Live)+4*ChunkSize)
		if !options.GoMemory {
			require.Less(t, after.Resident, before.Resident/3)
		}
		for _, o := range owners {
			for _, r := range o.all {
				o.look(r)
			}
		}
	})
}

// What can't be moved, as a value that a client is being sent, keeps its chunk; the next write uses the chunk again.
func TestCompactWithoutHelp(t *testing.T) {
	forms(t, func(t *testing.T, options Options) {
		a := open(t, options)
		o := newOwner(t, a, 0)
		for range 40_000 {
			o.alloc(500)
		}
		for i := len(o.all) - 1; i >= 0; i-- {
			if i%8 > 0 {
				o.free(i)
			}
		}
		require.Positive(t, a.BeginCompact(64<<20))
		require.Zero(t, a.EndCompact())
		check(t, a, o)
		resident := a.Figures().Resident
		for range 10_000 {
			o.alloc(500)
		}
		require.Equal(t, resident, a.Figures().Resident)
		check(t, a, o)
	})
}

func TestCompactIsNotWorthIt(t *testing.T) {
	a := open(t, Options{Range: 64 << 20, GoMemory: race})
	require.Zero(t, a.BeginCompact(1<<30), "nothing is there")
	o := newOwner(t, a, 0)
	for range 40_000 {
		o.alloc(500)
	}
	require.Zero(t, a.BeginCompact(1<<30), "all is full")
}

// Many owners at a time, while chunks are emptied.
func TestSideBySide(t *testing.T) {
	forms(t, func(t *testing.T, options Options) {
		options.Range = 256 << 20 // chunks that are leaving are not to be had meanwhile
		a := open(t, options)
		var owners []*owner
		var done sync.WaitGroup
		for i := range 8 {
			o := newOwner(t, a, i)
			owners = append(owners, o)
			done.Go(func() {
				for step := range 6000 {
					if len(o.all) > 0 && o.rand.IntN(100) < 48 {
						o.free(o.rand.IntN(len(o.all)))
					} else {
						o.alloc(1 + o.rand.IntN(4000))
					}
					if step%500 == 0 {
						o.move()
					}
				}
			})
		}
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
					a.BeginCompact(1 << 20)
					a.EndCompact()
					a.Scavenge(true)
					a.Figures()
				}
			}
		}()
		done.Wait()
		close(stop)
		<-stopped
		check(t, a, owners...)
	})
}
