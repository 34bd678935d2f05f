package store

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Keys that a sweep could not remove, because the store takes no writes, are noted for the next.
func TestSweepGoesOnAfterARefusal(t *testing.T) {
	j := newFakeJournal()
	s := openTest(t, Options{Journal: j}, 0)
	for ttl := uint64(5); ttl > 0; ttl-- {
		_, err := s.Set(fmt.Append(nil, "key", ttl), nil, SetOptions{TTL: ttl})
		require.NoError(t, err)
	}
	s.clock.pass(10)
	j.refuseWith(errRefused)
	s.sweep()
	require.NoError(t, s.Check())
	require.EqualValues(t, 5, s.Stats().Keys)
	j.refuseWith(nil)
	s.sweep()
	require.Zero(t, s.Stats().Keys)
}

// A split that comes between a sweep's look at the directory and its look at the segment must not lose the expiry.
func TestSweepFindsWhatASplitMoved(t *testing.T) {
	s := openTest(t, Options{}, fullHash>>shardBits)
	for i := range splitAt {
		_, err := s.Set(fmt.Append(nil, "key", i), nil, SetOptions{TTL: 1})
		require.NoError(t, err)
	}
	s.clock.pass(10)
	sh := &s.shards[0]
	old := sh.dir.Load().segment(0)
	// What sweep does, with the split in the middle of it.
	sh.soonest.Store(noExpiry)
	s.put(t, "one more", "")
	require.NotSame(t, old, sh.dir.Load().segment(0))
	require.NoError(t, s.sweepSegment(old, s.Store.clock.now()))
	lower(&sh.soonest, old.soonest.Load())
	s.sweep()
	require.EqualValues(t, 1, s.Stats().Keys)
}

// Check holds up a sweep too: in the middle of one, what is noted of expiries is not yet right.
func TestCheckBesideASweep(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	for i := range 300 {
		_, err := s.Set(fmt.Append(nil, "key", i), nil, SetOptions{TTL: uint64(1 + i%100)})
		require.NoError(t, err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				s.clock.pass(1)
				s.sweep()
			}
		}
	})
	for range 100 {
		require.NoError(t, s.Check())
	}
	close(stop)
	wg.Wait()
}

// A sweep removes just what it saw: a key that was set anew in between stays.
func TestSweepRemovesOnlyWhatItSaw(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	key := []byte("key")
	_, err := s.Set(key, nil, SetOptions{TTL: 1})
	require.NoError(t, err)
	saw := s.Get(key)
	s.clock.pass(1)
	s.put(t, "key", "anew")
	remove := func(e *Entry) error {
		_, err := s.Store.commitOne(&change{hash: s.hash(key), entry: newTombstone(key), only: e})
		return err
	}
	require.ErrorIs(t, remove(saw), errNothing)
	require.Equal(t, "anew", text(s.Get(key)))
	require.NoError(t, remove(s.Get(key)))
	require.Nil(t, s.Get(key))
}
