package store

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Once Close has returned nothing changes any more, not by a write that had begun before either.
func TestNoWriteTakesEffectAfterClose(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	h := s.hash([]byte("key"))
	sh := &s.shards[shardOf(h)]
	// Writers that have passed admit wait for the lock; so does Close.
	sh.mu.Lock()
	var wg sync.WaitGroup
	errs := make(chan error, 2)
	wg.Go(func() {
		c := s.Store.Session()
		defer c.Close()
		_, err := c.Set([]byte("key"), []byte("late"), SetOptions{})
		errs <- err
	})
	wg.Go(func() {
		c := s.Store.Session()
		defer c.Close()
		_, err := c.MSet(pairsOf("key", "late"))
		errs <- err
	})
	wg.Go(func() { s.Store.Close() })
	require.Eventually(t, func() bool { return s.closed.Load() }, 10*time.Second, time.Millisecond)
	sh.mu.Unlock()
	wg.Wait()
	for range 2 {
		require.ErrorIs(t, <-errs, ErrReadOnly)
	}
	require.Nil(t, s.Get([]byte("key")))
}
