package store

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestCalendar takes out of a calendar what was put in, at the time that was said, in few steps at a time or many.
func TestCalendar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := rapid.SampledFrom([]uint64{0, fakeStart / 1000, math.MaxUint64 - 1<<50}).Draw(t, "start")
		c := newCalendar(now)
		type due struct{ hash, at uint64 }
		var all []due
		ahead := rapid.OneOf(rapid.Uint64Range(0, 600), rapid.Uint64Range(0, 1<<20), rapid.Uint64Range(0, 1<<39),
			rapid.SampledFrom([]uint64{0, 1 << 12, 1<<12 - 1, 1 << 18, 1 << 24, 1 << 30, 1 << 36, 1 << 40}))
		step := 0
		t.Repeat(map[string]func(*rapid.T){
			"Add": func(t *rapid.T) {
				for range rapid.IntRange(1, 300).Draw(t, "notes") {
					step++
					at := now + ahead.Draw(t, "ahead") - min(now, rapid.SampledFrom([]uint64{0, 0, 1000}).Draw(t, "late"))
					all = append(all, due{uint64(step), at})
					c.add(uint64(step), at)
				}
			},
			"Take": func(t *rapid.T) {
				now += ahead.Draw(t, "passes")
				steps := rapid.SampledFrom([]int{1, 7, 1000}).Draw(t, "steps")
				var got, want []uint64
				for more := true; more; {
					before := len(got)
					got, more = c.take(got, now, steps)
					require.LessOrEqual(t, len(got)-before, steps)
				}
				for _, d := range all {
					if c.tick(d.at) <= c.tick(now) {
						want = append(want, d.hash)
					}
				}
				all = slices.DeleteFunc(all, func(d due) bool { return c.tick(d.at) <= c.tick(now) })
				slices.Sort(got)
				require.True(t, slices.Equal(want, got), "want %v, got %v", want, got)
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(all), c.n)
				left := map[uint64]uint32{}
				c.each(func(hash uint64, tick uint32) { left[hash] = tick })
				require.Len(t, left, len(all))
				for _, d := range all {
					require.Equal(t, c.tick(d.at), left[d.hash])
				}
				require.GreaterOrEqual(t, len(c.pages)*pageBlocks*blockNotes, c.n)
				if c.n == 0 {
					require.Empty(t, c.pages)
				}
			},
		})
	})
}
