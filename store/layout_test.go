package store

import (
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// TestLayout holds the sizes that the figures for memory and speed rest on.
func TestLayout(t *testing.T) {
	require.EqualValues(t, entryHeader, unsafe.Sizeof(Entry{}))
	require.Zero(t, (entryHeader+expirySize)%8, "the expiry is aligned")
}

// TestAllocations: what reads, and what writes in the place of something, takes no memory of Go's, with a journal and without.
func TestAllocations(t *testing.T) {
	for name, j := range map[string]Journal{"without a journal": nil, "with one": forgetful{}} {
		t.Run(name, func(t *testing.T) { testAllocations(t, openTest(t, Options{Journal: j}, fullHash)) })
	}
}

// forgetful is a journal that keeps nothing.
type forgetful struct{}

var forgotten atomic.Uint64

func (forgetful) Replay(_, _ func([]*Entry)) (uint64, error) { return forgotten.Load(), nil }
func (forgetful) Append(uint64, []*Entry) (uint64, error)    { return forgotten.Add(1), nil }
func (forgetful) Expect() int64                              { return 0 }
func (forgetful) Admit(int64) error                          { return nil }
func (forgetful) Durable() uint64                            { return math.MaxUint64 }
func (forgetful) Wait(uint64) error                          { return nil }

func testAllocations(t *testing.T, s opened) {
	var keys [][]byte
	for i := range 10_000 {
		keys = append(keys, fmt.Append(nil, "key", i))
		_, err := s.Set(keys[i], make([]byte, 32), SetOptions{TTL: uint64(i%2) * 1e6})
		require.NoError(t, err)
	}
	none := []byte("none")
	value := make([]byte, 32)
	found := make([]Found, 16)
	var copied []byte
	viewed := func(f func(View)) {
		v := s.View()
		defer v.Close()
		f(v)
	}
	var pairs []Pair
	for i := range 16 {
		pairs = append(pairs, Pair{keys[i], value})
	}
	i := 0
	tests := []struct {
		name   string
		most   float64
		action func()
	}{
		{"View.Get", 0, func() { viewed(func(v View) { v.Get(keys[i%len(keys)]) }) }},
		{"View.Get of an absent key", 0, func() { viewed(func(v View) { v.Get(none) }) }},
		{"View.GetMany", 0, func() { viewed(func(v View) { v.GetMany(found, keys[i%1000:i%1000+16]) }) }},
		{"MGetView", 0, func() {
			v, _ := s.MGetView(found, keys[i%1000:i%1000+16], nil)
			v.Close()
		}},
		{"AppendValue", 0, func() { copied, _ = s.AppendValue(copied[:0], keys[i%len(keys)]) }},
		{"Get: the copy", 1, func() { s.Get(keys[i%len(keys)]) }},
		{"Warm", 0, func() { s.Warm(keys[i%1000 : i%1000+100]) }},
		{"Flush", 0, func() { s.Flush() }},
		{"Set", 0, func() { s.Set(keys[i%len(keys)], value, SetOptions{}) }},
		{"MSet", 0, func() { s.MSet(pairs) }},
		{"Update", 1, func() { // the Update itself
			s.Update(keys[:1], func(u *Update) error { u.Set(keys[0], value, 0); return nil })
		}},
		{"Del", 0, func() { s.Del(keys[i%len(keys) : i%len(keys)+1]) }},
		{"Del of many", 0, func() { s.Del(keys[i%1000 : i%1000+16]) }},
	}
	for _, test := range tests {
		n := testing.AllocsPerRun(1000, func() {
			test.action()
			i++
		})
		if raceEnabled {
			continue // the detector drops what a pool has, at random
		}
		require.LessOrEqual(t, n, test.most, test.name)
	}
}

// TestDistribution: with the real hash every shard has its share of the keys.
func TestDistribution(t *testing.T) {
	n := 200_000
	if raceEnabled {
		n /= 10
	}
	s := openTest(t, Options{}, fullHash)
	var key []byte
	for i := range n {
		key = fmt.Append(key[:0], "user:", i)
		s.Set(key, nil, SetOptions{})
	}
	for i := range s.shards {
		// Give or take seven standard deviations.
		require.InDelta(t, n/shardCount, s.shards[i].keys, 7*math.Sqrt(float64(n/shardCount)))
	}
}

// Two sessions share no cache line, though nothing is between them.
func TestSessionsAreApart(t *testing.T) {
	require.EqualValues(t, 128, unsafe.Sizeof(Session{}))
	s := openTest(t, Options{}, fullHash)
	for range 100 {
		c := s.Store.Session()
		defer c.Close()
		require.Zero(t, uintptr(unsafe.Pointer(c))%128)
	}
}
