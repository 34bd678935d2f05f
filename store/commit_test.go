package store

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// watched is a journal that calls a function while a write is half done: its locks are held, its switches in place.
type watched struct {
	*fakeJournal
	during func()
}

func (w *watched) Append(floor uint64, entries []*Entry) (uint64, error) {
	if w.during != nil {
		w.during()
	}
	return w.fakeJournal.Append(floor, entries)
}

// Readers go on while a write is under way, whatever it is, and see nothing of it; right behind it they see all.
func TestReadersBesideAnUnfinishedWrite(t *testing.T) {
	for _, m := range masks {
		t.Run(m.name, func(t *testing.T) {
			j := &watched{fakeJournal: newFakeJournal()}
			s := openTest(t, Options{Journal: j, History: 2}, m.mask)
			_, err := s.MSet(pairsOf("a", "1", "b", "1", "c", "1"))
			require.NoError(t, err)
			reader := s.Store.Session()
			defer reader.Close()
			keys := keysOf("a", "b", "c", "d")
			var entries []*Entry
			see := func() (seen string) {
				entries = reader.MGet(entries[:0], keys)
				for i, e := range entries {
					assert.Equal(t, e, reader.Get(keys[i]))
					seen += text(e)
				}
				assert.Len(t, scanAll(t, reader, ScanOptions{}), len(strings.ReplaceAll(seen, "-", "")))
				return seen
			}
			writes := []struct {
				name  string
				write func()
				want  string
			}{
				{"MSet", func() { s.MSet(pairsOf("a", "2", "d", "2", "b", "2")) }, "2212"},
				{"Set", func() { s.Set([]byte("a"), []byte("3"), SetOptions{}) }, "3212"},
				{"Del", func() { s.Del(keysOf("a", "b")) }, "--12"},
				{"Del of one", func() { s.Del(keysOf("c")) }, "---2"},
				{"Txn", func() {
					s.Txn(nil, nil, []Op{
						{Kind: OpSet, Key: keys[0], Value: []byte("x")},
						{Kind: OpDel, Key: keys[3]},
						{Kind: OpDel, Key: keys[0]},
						{Kind: OpSet, Key: keys[0], Value: []byte("4")},
					})
				}, "4---"},
			}
			for _, w := range writes {
				before := see()
				asked := false
				j.during = func() {
					asked = true
					assert.Equal(t, before, see(), "during %s", w.name)
				}
				w.write()
				j.during = nil
				require.True(t, asked)
				require.Equal(t, w.want, see(), "after %s", w.name)
			}
		})
	}
}
