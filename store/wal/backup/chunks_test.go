package backup

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/vfs/vfstest"
	"kv/store/wal/feed"
	"kv/store/wal/record"
	"kv/store/wal/tool"
)

// source is a store of so many values that nobody writes to, and its journal.
type source struct {
	Limits
	mu     sync.Mutex
	feed   *feed.Feed
	values int
}

func newSource(values int) *source {
	s := &source{values: values}
	s.feed = feed.New(&s.mu)
	return s
}

func (s *source) Backup(ctx context.Context, w io.Writer) (version uint64, size int64, err error) {
	return Take(ctx, &s.Limits, s, s, w)
}
func (s *source) Subscribe(limit int64) (*feed.Subscription, error) {
	return s.feed.Subscribe(0, limit), nil
}
func (s *source) Wait(uint64) error { return nil }
func (s *source) Barrier()          {}

func (s *source) Last(sub *feed.Subscription) ([]feed.Record, record.Point, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := sub.Last()
	return all, record.Point{Version: uint64(s.values)}, err
}

func (s *source) Walk(f func(*store.Entry) error) error {
	for i := range s.values {
		if err := f(store.NewEntry(uint64(i+1), fmt.Append(nil, i), fmt.Appendf(nil, "%01000d", i), 0, false)); err != nil {
			return err
		}
	}
	return nil
}

func TestBackupChunks(t *testing.T) {
	m := newSource(1000)
	b := NewChunks(m, 1000, time.Minute)
	defer b.Close()

	var all []byte
	first, chunk, err := b.Backup("anna", 0)
	require.NoError(t, err)
	all = append(all, chunk...)
	_, _, err = b.Backup("anna", 0)
	require.ErrorIs(t, err, ErrBusy)
	for handle := first; handle != 0; {
		used := handle
		handle, chunk, err = b.Backup("anna", used)
		require.NoError(t, err)
		require.LessOrEqual(t, len(chunk), 1000)
		all = append(all, chunk...)
		_, _, err = b.Backup("anna", used)
		require.ErrorIs(t, err, ErrNoBackup, "each chunk is given out once")
	}
	fs := vfstest.NewMem()
	fs.WriteFile("/backup", all)
	report, err := tool.Restore(fs, "/backup", "/data")
	require.NoError(t, err)
	require.EqualValues(t, 1000, report.Entries())
}

// What one owner does with his backups does not keep the others out.
func TestBackupSlots(t *testing.T) {
	m := newSource(100)
	begin := func(b *Chunks, owner string) (handle uint64, err error) {
		handle, _, err = b.Backup(owner, 0)
		return handle, err
	}

	b := NewChunks(m, 1000, time.Hour)
	anna, err := begin(b, "anna")
	require.NoError(t, err)
	_, err = begin(b, "anna")
	require.ErrorIs(t, err, ErrBusy)
	require.ErrorContains(t, err, "anna has one")
	for _, owner := range []string{"bob", "", ""} {
		_, err = begin(b, owner)
		require.NoError(t, err)
	}
	for _, owner := range []string{"carl", ""} {
		_, err = begin(b, owner)
		require.ErrorIs(t, err, ErrBusy)
	}
	b.End(anna)
	_, _, err = b.Backup("anna", anna)
	require.ErrorIs(t, err, ErrNoBackup)
	b.End(anna) // again
	_, err = begin(b, "carl")
	require.NoError(t, err)
	b.Close()
	for range 4 {
		_, err = begin(b, "")
		require.NoError(t, err)
	}
	b.Close()

	// Who has not pulled for a while gives way: to others, and to himself.
	b = NewChunks(m, 1000, time.Hour)
	b.givesWay = 0
	handles := map[uint64]bool{}
	for i := range 10 {
		owner := []string{"anna", "anna", "bob", "", "", "carl", "", "", "", ""}[i]
		h, err := begin(b, owner)
		require.NoError(t, err)
		handles[h] = true
	}
	left := 0
	for h := range handles {
		if _, _, err := b.Backup("", h); err == nil {
			left++
		} else {
			require.ErrorIs(t, err, ErrNoBackup)
		}
	}
	require.Equal(t, 4, left)
	b.Close()

	// One that nobody pulls any more makes room, for those who come another way too.
	idle := NewChunks(m, 1000, time.Millisecond)
	defer idle.Close()
	for range 4 {
		_, err = begin(idle, "")
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		_, _, err := m.Backup(context.Background(), io.Discard)
		return err == nil
	}, time.Minute, time.Millisecond)
}
