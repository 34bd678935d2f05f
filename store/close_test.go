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
	sh := s.shardOf(h)
	// Writers that have passed admit wait for the lock; so does Close.
	sh.Lock()
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
	sh.Unlock()
	wg.Wait()
	for range 2 {
		require.ErrorIs(t, <-errs, ErrReadOnly)
	}
	require.Nil(t, s.Get([]byte("key")))
}

func TestClose(t *testing.T) {
	s := openTest(t, Options{History: 1}, fullHash)
	v := s.put(t, "key", "value")
	s.put(t, "key", "newer")
	require.NoError(t, s.Store.Close())
	require.NoError(t, s.Store.Close(), "once more")
	key := []byte("key")

	_, err := s.Set(key, nil, SetOptions{})
	require.ErrorIs(t, err, ErrReadOnly)
	_, err = s.MSet(pairsOf("key", ""))
	require.ErrorIs(t, err, ErrReadOnly)
	_, _, err = s.Del([][]byte{key})
	require.ErrorIs(t, err, ErrReadOnly)
	_, _, err = s.Del(keysOf("key", "other"))
	require.ErrorIs(t, err, ErrReadOnly)
	_, _, err = s.Txn(nil, nil, []Op{{Kind: OpSet, Key: key}})
	require.ErrorIs(t, err, ErrReadOnly)
	_, err = s.Rollback(key, v)
	require.ErrorIs(t, err, ErrReadOnly)

	require.Equal(t, "newer", text(s.Get(key)))
	require.Equal(t, "newer", text(s.MGet(nil, [][]byte{key})[0]))
	require.Equal(t, []string{"newer", "value"}, s.past("key"))
	results, _, err := s.Txn(nil, nil, []Op{{Kind: OpGet, Key: key}})
	require.NoError(t, err)
	require.Equal(t, "newer", text(results[0].Entry))
	require.Len(t, scanAll(t, s.Session, ScanOptions{}), 1)
	require.NoError(t, s.Flush())
	require.EqualValues(t, 1, s.Stats().Keys)
}

// A session that was closed reads nothing any more: its place among the readers may be that of another.
func TestClosedSession(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	s.put(t, "key", "value")
	c := s.Store.Session()
	require.Equal(t, "value", text(c.Get([]byte("key"))))
	c.Close()
	require.NotPanics(t, c.Close, "once more")
	require.Panics(t, func() { c.Get([]byte("key")) })
	require.Panics(t, func() { c.View() })
	require.Panics(t, func() { c.MGet(nil, keysOf("key")) })
	require.EqualValues(t, 1, s.Stats().GetOps, "what it has done counts")
}
