package epoch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// manual is a domain whose clock the test sets; every Advance is due unless the test says otherwise.
func manual() (d *Domain, clock *atomic.Int64) {
	d, clock = New(), new(atomic.Int64)
	d.clock = func() time.Time { return time.Unix(0, clock.Add(int64(maxRest))) }
	return d, clock
}

func TestCellsAreApart(t *testing.T) {
	require.EqualValues(t, 128, unsafe.Sizeof(Cell{}))
}

func TestSafe(t *testing.T) {
	d, _ := manual()
	a, b := d.Cell("a"), d.Cell("b")

	e := d.Now()
	require.LessOrEqual(t, d.Safe(), e, "nothing is safe before an Advance")
	require.Greater(t, d.Advance(), e, "nobody is pinned")

	a.Pin()
	e = d.Now()
	require.LessOrEqual(t, d.Advance(), e, "a pinned before it was unlinked")
	b.Pin()
	a.Unpin()
	require.Greater(t, d.Advance(), e, "b pinned after it was unlinked, and a is gone")

	late := d.Now()
	require.LessOrEqual(t, d.Advance(), late)
	b.Unpin()
	require.Greater(t, d.Advance(), late)
}

func TestPinWithAnOldEpochIsCareful(t *testing.T) {
	d, _ := manual()
	c := d.Cell("stopped between load and store")
	v := d.now.Load()
	e := d.Now()
	require.Greater(t, d.Advance(), e)
	c.pinned.Store(v)
	require.LessOrEqual(t, d.Advance(), e, "safe may go back: what was freed meanwhile, this reader has not found")
}

func TestAdvanceRests(t *testing.T) {
	d := New()
	now := time.Unix(1000, 0)
	d.clock = func() time.Time { now = now.Add(10 * time.Microsecond); return now }
	first := d.Advance()
	require.Equal(t, first, d.Advance(), "at once again")
	now = now.Add(restShare * 10 * time.Microsecond)
	require.Greater(t, d.Advance(), first)

	// A scan that was stopped in the middle does not keep the next from coming.
	d.clock = func() time.Time { now = now.Add(10 * time.Millisecond); return now }
	first = d.Advance()
	require.Greater(t, d.Advance(), first)

	d.advancing.Lock()
	require.Equal(t, d.Safe(), d.Advance(), "another one is under way")
	d.advancing.Unlock()
}

func TestHeldNamesWhoStaysPinned(t *testing.T) {
	d, clock := manual()
	owner, since := d.Held()
	require.Empty(t, owner)
	require.Zero(t, since)

	c := d.Cell("10.0.0.7:5123")
	c.Pin()
	d.Advance()
	clock.Add(int64(time.Minute))
	d.Advance()
	owner, since = d.Held()
	require.Equal(t, "10.0.0.7:5123", owner)
	require.GreaterOrEqual(t, since, time.Minute)

	c.Unpin()
	d.Advance()
	_, since = d.Held()
	require.Zero(t, since)
}

func TestCellsAreUsedAgain(t *testing.T) {
	d := New()
	var all []*Cell
	for range 3 * blockSize {
		all = append(all, d.Cell(""))
	}
	require.Len(t, *d.cells.Load(), 3)
	for _, c := range all {
		d.Return(c)
	}
	for range 3 * blockSize {
		require.Contains(t, all, d.Cell(""))
	}
	require.Len(t, *d.cells.Load(), 3)

	c := d.Cell("")
	c.Pin()
	require.Panics(t, func() { d.Return(c) })
}

func TestLimbo(t *testing.T) {
	var l Limbo
	var freed []uint64
	free := func(what uint64) int { freed = append(freed, what); return int(what) }
	total := int64(0)
	for i := range uint64(200) {
		l.Retire(i, 10+i/50, int(i))
		total += int64(i)
	}
	require.Equal(t, 200, l.Len())
	require.Equal(t, total, l.Bytes())
	require.True(t, l.Ready(11, 50))
	require.False(t, l.Ready(11, 51))
	require.False(t, l.Ready(99, 201))

	l.Drain(10, 1000, free)
	require.Empty(t, freed, "their epoch has not passed")
	l.Drain(12, 16, free)
	require.Len(t, freed, 16, "no more than was asked for")
	l.Drain(12, 1000, free)
	require.Len(t, freed, 100)
	var waiting []uint64
	l.All(func(what uint64) { waiting = append(waiting, what) })
	require.Len(t, waiting, 100)
	require.EqualValues(t, 100, waiting[0])
	l.Drain(99, 1000, free)
	require.Len(t, freed, 200)
	require.True(t, slices.IsSorted(freed))
	require.Zero(t, l.Bytes())
	require.Empty(t, l.ring, "what a pinned reader made large does not stay so")
}

// Readers follow a shared pointer and look at what they found until they unpin; a writer replaces it, and spoils what it
// replaced once that is safe. Nobody may see spoiled memory. The detector sees the same as a race.
func TestNobodySeesWhatIsUsedAgain(t *testing.T) {
	type object struct{ words [8]uint64 }
	const objects, spoiled = 256, ^uint64(0)
	pool := make([]object, objects)
	d := New()
	var current atomic.Uint64 // an index into pool
	var done atomic.Bool
	var readers sync.WaitGroup
	for range 4 {
		c := d.Cell("reader")
		readers.Go(func() {
			for !done.Load() {
				c.Pin()
				var found [16]uint64
				for i := range found {
					found[i] = current.Load()
				}
				for _, i := range found {
					for _, w := range pool[i].words {
						if w == spoiled {
							t.Error("a reader saw memory that was given up")
							done.Store(true)
						}
					}
				}
				c.Unpin()
			}
		})
	}
	var limbo Limbo
	var unused []uint64
	for i := range uint64(objects - 1) {
		unused = append(unused, i+1)
	}
	replaced := 0
	for replaced < 20_000 && !done.Load() {
		limbo.Drain(d.Advance(), objects, func(i uint64) int {
			for j := range pool[i].words {
				pool[i].words[j] = spoiled
			}
			unused = append(unused, i)
			return 64
		})
		if len(unused) == 0 {
			continue
		}
		pick := rand.IntN(len(unused))
		next := unused[pick]
		unused[pick] = unused[len(unused)-1]
		unused = unused[:len(unused)-1]
		for j := range pool[next].words {
			pool[next].words[j] = uint64(replaced)
		}
		old := current.Swap(next)
		limbo.Retire(old, d.Now(), 64)
		replaced++
	}
	done.Store(true)
	readers.Wait()
	require.Equal(t, 20_000, replaced)
}

func BenchmarkPin(b *testing.B) {
	c := New().Cell("")
	for b.Loop() {
		c.Pin()
		c.Unpin()
	}
}

func BenchmarkAdvance(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000, 50_000} {
		d, _ := manual()
		for range n {
			d.Cell("")
		}
		b.Run(fmt.Sprintf("%d-cells", n), func(b *testing.B) {
			for b.Loop() {
				d.Advance()
			}
		})
	}
}
