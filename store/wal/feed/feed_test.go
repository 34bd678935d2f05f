package feed_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/wal/feed"
)

type journal struct {
	mu   sync.Mutex
	feed *feed.Feed
	last uint64
}

func newJournal() *journal {
	j := new(journal)
	j.feed = feed.New(&j.mu)
	return j
}

func (j *journal) add(value string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	j.feed.Add(j.last, []*store.Entry{store.NewEntry(0, []byte("k"), []byte(value), 0, false)})
}

func (j *journal) subscribe(limit int64) *feed.Subscription {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.feed.Subscribe(j.last, limit)
}

func versions(records []feed.Record) (all []uint64) {
	for _, r := range records {
		all = append(all, r.Version)
	}
	return all
}

func TestEachGetsWhatFollowsItsBegin(t *testing.T) {
	j := newJournal()
	j.add("nobody follows")
	a := j.subscribe(1 << 20)
	require.EqualValues(t, 1, a.From)
	j.add("2")
	b := j.subscribe(1 << 20)
	require.EqualValues(t, 2, b.From)
	j.add("3")
	got, err := a.Take()
	require.NoError(t, err)
	require.Equal(t, []uint64{2, 3}, versions(got))
	require.Equal(t, "3", string(got[1].Entries[0].Value()))
	got, err = a.Take()
	require.NoError(t, err)
	require.Empty(t, got)
	got, err = b.Next(context.Background())
	require.NoError(t, err)
	require.Equal(t, []uint64{3}, versions(got))

	j.add("4")
	a.Close()
	_, err = a.Take()
	require.ErrorIs(t, err, feed.ErrClosed)
	a.Close() // again
	j.mu.Lock()
	got, err = b.Last()
	j.mu.Unlock()
	require.NoError(t, err)
	require.Equal(t, []uint64{4}, versions(got))
	require.False(t, j.feed.Followed())
	j.add("5")
	c := j.subscribe(1 << 20)
	j.add("6")
	got, err = c.Take()
	require.NoError(t, err)
	require.Equal(t, []uint64{6}, versions(got))
	c.Close()
}

// Who falls behind is told so, and alone: what others get does not change, nor does anybody wait.
func TestWhoFallsBehind(t *testing.T) {
	j := newJournal()
	size := int64(feed.Overhead + store.NewEntry(0, []byte("k"), []byte("v"), 0, false).Size())
	slow, exact, patient := j.subscribe(2*size), j.subscribe(3*size), j.subscribe(1<<20)
	for range 3 {
		j.add("v")
	}
	_, err := slow.Take()
	require.ErrorIs(t, err, feed.ErrBehind)
	_, err = slow.Next(context.Background())
	require.ErrorIs(t, err, feed.ErrBehind, "it stays lost")
	got, err := exact.Take()
	require.NoError(t, err)
	require.Equal(t, []uint64{1, 2, 3}, versions(got))
	for range 3 {
		j.add("v")
	}
	got, err = exact.Take()
	require.NoError(t, err, "it has caught up before")
	require.Equal(t, []uint64{4, 5, 6}, versions(got))
	got, err = patient.Take()
	require.NoError(t, err)
	require.Len(t, got, 6)
	for _, s := range []*feed.Subscription{slow, exact, patient} {
		s.Close()
	}
}

func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		s := j.subscribe(1 << 20)
		next := func(ctx context.Context) (all []uint64, err error) {
			records, err := s.Next(ctx)
			return versions(records), err
		}
		go func() { synctest.Wait(); j.add("1") }()
		got, err := next(context.Background())
		require.NoError(t, err)
		require.Equal(t, []uint64{1}, got)

		ctx, cancel := context.WithCancel(context.Background())
		go func() { synctest.Wait(); cancel() }()
		_, err = next(ctx)
		require.ErrorIs(t, err, context.Canceled)
		j.add("2")
		got, err = next(context.Background())
		require.NoError(t, err)
		require.Equal(t, []uint64{2}, got, "given up waiting, it has lost nothing")

		go func() { synctest.Wait(); s.Close() }()
		_, err = next(context.Background())
		require.ErrorIs(t, err, feed.ErrClosed)

		s = j.subscribe(1)
		go func() { synctest.Wait(); j.add("too much") }()
		_, err = next(context.Background())
		require.ErrorIs(t, err, feed.ErrBehind)
		s.Close()
	})
}
