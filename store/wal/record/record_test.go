package record_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/wal/frame"
	"kv/store/wal/record"
)

// What is written of an entry is what is read, of each kind.
func TestEntries(t *testing.T) {
	key, value := []byte("key"), []byte("value")
	all := []*store.Entry{
		store.NewEntry(7, key, value, 0, false),
		store.NewEntry(7, nil, nil, 0, false),
		store.NewEntry(7, key, value, 99, false),
		store.NewEntry(7, key, nil, 0, true),
		store.NewEntry(7, key, make([]byte, 100_000), 5, false),
		store.NewPurge(7, key, false),
		store.NewPurge(7, key, true),
		store.NewTime(7, 12345),
		store.NewForget(7, 6),
		store.NewDepth(7, 6),
		store.NewAge(7, 6*time.Second),
		store.NewAge(7, 0),
	}
	for i, e := range all {
		b := record.AppendEntries(nil, []*store.Entry{e})
		require.Equal(t, record.Size([]*store.Entry{e}), frame.MarkSize+len(b), "entry %d", i)
		require.LessOrEqual(t, len(b), e.Size(), "entry %d: a journal is promised that it writes no more", i)
		var got record.Entry
		rest, ok := record.ParseEntry(append(b, 1, 2), &got)
		require.True(t, ok, "entry %d", i)
		require.Equal(t, []byte{1, 2}, rest)
		require.Equal(t, e, got.Make(7), "entry %d", i)
		require.Equal(t, e, got.MakeIn(new(store.Maker), 7), "entry %d", i)
		for n := range b {
			var cut record.Entry
			_, ok := record.ParseEntry(b[:n], &cut)
			require.False(t, ok, "entry %d cut to %d bytes", i, n)
		}
		flags := b[0]
		for f := range 256 { // other flags make no other kind of these bytes that can't be
			if b[0] = byte(f); f != int(flags) {
				if _, ok := record.ParseEntry(b, &got); ok && (got.Time || got.Forget || got.Depth || got.Age) {
					require.Empty(t, got.Key)
					require.Empty(t, got.Value)
				}
			}
		}
	}
}
