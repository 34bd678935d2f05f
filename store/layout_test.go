package store

import (
	"fmt"
	"math"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

const cacheLine = 64

// TestLayout holds the sizes that the figures for memory and speed rest on.
func TestLayout(t *testing.T) {
	require.EqualValues(t, entryHeader, unsafe.Sizeof(Entry{}))
	require.Equal(t, 16, entryHeader)
	require.Equal(t, 64, newEntry(make([]byte, 16), make([]byte, 32), 0).size(), "a key of 16 and a value of 32 fill a size class")
	require.Zero(t, (entryHeader+expirySize)%8, "the expiry is aligned")

	require.EqualValues(t, bucketHeader, unsafe.Sizeof(bucket{}))
	require.Equal(t, 16, bucketHeader)
	require.EqualValues(t, bucketHeader+3*pointerSize, unsafe.Sizeof(bucketOf[[3]*Entry]{}))
	require.EqualValues(t, bucketHeader, unsafe.Offsetof(extendedBucket{}.entries))
	require.EqualValues(t, bucketHeader+bucketWidth*pointerSize, unsafe.Offsetof(extendedBucket{}.ext))
	require.Zero(t, unsafe.Offsetof(pending{}.bucket), "a pending is reached through its bucket")
	require.LessOrEqual(t, bucketWidth, countMask)

	// What writers change is on no cache line with what readers load, wherever the array begins.
	require.EqualValues(t, 2*cacheLine, unsafe.Sizeof(shard{}))
	require.Zero(t, unsafe.Offsetof(shard{}.dir))
	require.GreaterOrEqual(t, int(unsafe.Offsetof(shard{}.mu)), cacheLine)
	var s Store
	last := unsafe.Offsetof(s.shards) + unsafe.Sizeof(s.shards) - unsafe.Sizeof(shard{})
	require.GreaterOrEqual(t, int(unsafe.Offsetof(s.versions)-last-unsafe.Offsetof(shard{}.dir)), cacheLine)

	// Sessions lie beside each other in the allocator's spans.
	end := unsafe.Offsetof(Session{}.published) + unsafe.Sizeof(Session{}.published)
	require.GreaterOrEqual(t, int(unsafe.Sizeof(Session{})-end), cacheLine)
}

func TestAllocations(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	var keys [][]byte
	for i := range 10_000 {
		keys = append(keys, fmt.Append(nil, "key", i))
		_, err := s.Set(keys[i], make([]byte, 32), SetOptions{TTL: uint64(i%2) * 1e6})
		require.NoError(t, err)
	}
	none := []byte("none")
	value := make([]byte, 32)
	dst := make([]*Entry, 0, refs)
	i := 0
	tests := []struct {
		name   string
		most   float64
		action func()
	}{
		{"Get", 0, func() { s.Get(keys[i%len(keys)]) }},
		{"Get of an absent key", 0, func() { s.Get(none) }},
		{"Warm", 0, func() { s.Warm(keys[i%1000 : i%1000+100]) }},
		{"MGet", 0, func() { s.MGet(dst, keys[i%1000:i%1000+refs]) }},
		{"Flush", 0, func() { s.Flush() }},
		{"Set: the entry and the bucket", 2, func() { s.Set(keys[i%len(keys)], value, SetOptions{}) }},
	}
	for _, test := range tests {
		n := testing.AllocsPerRun(1000, func() {
			test.action()
			i++
		})
		require.LessOrEqual(t, n, test.most, test.name)
	}
}

// TestDistribution: with the real hash no bucket, and so no copy of one, gets beyond a sensible size, and no segment, and
// so no split, beyond the constant that bounds it, however many keys there are.
func TestDistribution(t *testing.T) {
	n := 1_000_000
	if raceEnabled {
		n /= 10
	}
	s := openTest(t, Options{}, fullHash)
	var key []byte
	for i := range n {
		key = fmt.Append(key[:0], "user:", i)
		s.Set(key, nil, SetOptions{})
	}
	segments, overflowing, largest := 0, 0, int32(0)
	for i := range s.shards {
		sh := &s.shards[i]
		for _, g := range sh.segments() {
			segments++
			require.EqualValues(t, splitAt, g.limit, "a segment could not be split")
			require.LessOrEqual(t, g.count, g.limit)
			for j := range g.slots {
				b := g.slots[j].p.Load()
				largest = max(largest, b.load())
				if b.ext() != nil {
					overflowing++
				}
			}
		}
		// Even shards: each has its share, give or take seven standard deviations.
		require.InDelta(t, n/shardCount, sh.keys, 7*math.Sqrt(float64(n/shardCount)))
	}
	buckets := segments * slotCount
	require.Less(t, largest, int32(4*bucketWidth))
	require.Less(t, float64(overflowing), 0.1*float64(buckets))
	// Between 3 keys to a bucket after a split and 6 before the next; segments of one size tend to split together.
	require.Greater(t, float64(n)/float64(buckets), 2.5)
	require.LessOrEqual(t, float64(n)/float64(buckets), 6.0)
	t.Logf("%d keys: %d segments, %.2f keys to a bucket, %d at most, %.2f %% overflow",
		n, segments, float64(n)/float64(buckets), largest, 100*float64(overflowing)/float64(buckets))
}

// TestStepsAreBounded: setting one key allocates no more where there are many, splits and doubled directories included. Only
// a directory grows with its shard, by one pointer for each segment.
func TestStepsAreBounded(t *testing.T) {
	s := openTest(t, Options{}, fullHash>>shardBits)
	sh := &s.shards[0]
	most := 2*segmentMemory + 2*slotCount*bucketMemory(allocBucket(bucketWidth)) + 1<<10
	for i := range 50_000 {
		before, d := s.budget.used.Load(), sh.dir.Load()
		segments := len(d.segments)
		s.put(t, fmt.Sprint("key", i), "")
		grown := s.budget.used.Load() - before
		if now := sh.dir.Load(); now != d {
			require.Len(t, now.segments, 2*segments)
			grown -= directoryMemory(now) - directoryMemory(d)
		}
		require.Less(t, grown, most)
		require.LessOrEqual(t, sh.dir.Load().segment(s.hash(fmt.Append(nil, "key", i))).count, int32(splitAt))
	}
}

// TestFindByTag tries each tag against each bucket: what is there is found at its place, and nothing else is.
func TestFindByTag(t *testing.T) {
	for n := range 2*bucketWidth + 1 {
		d := &draft{}
		for i := range n {
			d.add(newEntry([]byte{byte(i)}, nil, 0), uint8(i))
		}
		b := d.build()
		for tag := range 256 {
			at, e := b.find(uint8(tag), []byte{byte(tag)})
			if tag < n {
				require.Equal(t, tag, at)
				require.Equal(t, []byte{byte(tag)}, e.Key())
			} else {
				require.Equal(t, -1, at)
				require.Nil(t, e)
			}
			at, _ = b.find(uint8(tag), []byte("none"))
			require.Equal(t, -1, at)
			require.Equal(t, tag < min(n, bucketWidth), b.likely(uint8(tag)) != nil)
		}
	}
}
