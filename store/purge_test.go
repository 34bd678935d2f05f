package store

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A purge leaves the current version of a key, and of one that is absent nothing: at once, and after the log or a walk was
// replayed. What is written later has a past again.
func TestPurge(t *testing.T) {
	tests := []struct {
		name   string
		write  func(t *testing.T, s opened)
		erased int
		left   []string
	}{
		{"with earlier versions", func(t *testing.T, s opened) { s.put(t, "key", "0"); s.put(t, "key", "1"); s.put(t, "key", "2") }, 2, []string{"2"}},
		{"deleted", func(t *testing.T, s opened) { s.put(t, "key", "0"); s.del(t, "key") }, 2, nil},
		{"deleted and made again", func(t *testing.T, s opened) { s.put(t, "key", "0"); s.del(t, "key"); s.put(t, "key", "1") }, 2, []string{"1"}},
		{"expired, not swept", func(t *testing.T, s opened) { s.put(t, "key", "0"); s.setFor(t, "key", 10); s.clock.pass(10) }, 2, nil},
		{"expired and swept", func(t *testing.T, s opened) { s.setFor(t, "key", 10); s.clock.pass(10); s.sweep() }, 2, nil},
		{"that expires", func(t *testing.T, s opened) { s.put(t, "key", "0"); s.setFor(t, "key", 10_000) }, 1, []string{"value"}},
		{"without a past", func(t *testing.T, s opened) { s.put(t, "key", "0") }, 0, []string{"0"}},
		{"that never was", func(*testing.T, opened) {}, 0, nil},
		{"given up for memory", func(t *testing.T, s opened) {
			s.put(t, "key", "secret")
			s.put(t, "key", "1")
			sh := s.shardOf(s.hash([]byte("key")))
			sh.Lock()
			defer sh.Unlock()
			s.forget(sh, []byte("key"), func(Found, uint64) bool { return true })
		}, 0, []string{"1"}},
	}
	for _, m := range masks {
		for _, test := range tests {
			for _, byPrefix := range []bool{false, true} {
				t.Run(fmt.Sprint(m.name, "/", test.name, "/", byPrefix), func(t *testing.T) {
					j := newFakeJournal()
					s := openTest(t, Options{History: 5, Journal: j}, m.mask)
					s.put(t, "ke", "0")
					s.put(t, "ke", "1")
					test.write(t, s)
					before := s.Get([]byte("key"))
					var erased int
					var version uint64
					var err error
					if byPrefix {
						var next []byte
						erased, version, next, err = s.PurgePrefix(nil, []byte("key"))
						require.Empty(t, next)
					} else {
						erased, version, err = s.Purge(keysOf("key", "key"))
					}
					require.NoError(t, err)
					require.Equal(t, test.erased, erased)
					require.Equal(t, test.left, s.past("key"))
					require.Equal(t, before, s.Get([]byte("key")))
					require.Equal(t, []string{"1", "0"}, s.past("ke"), "another key's stays")
					require.NoError(t, s.Check())
					if version != 0 {
						require.Equal(t, j.last, version)
						purge, all := j.records[len(j.records)-1].entries[0].Purge()
						require.True(t, purge)
						require.Equal(t, before == nil, all)
					}

					for state := range len(j.records) + 1 {
						again := newFakeJournal()
						again.records, again.state = j.records, state
						if byPrefix && version == 0 {
							break // nobody knows of a key that never was
						}
						after := openTest(t, Options{History: 5, Journal: again}, m.mask)
						require.Equal(t, test.left, after.past("key"), "replayed, the first %d as one state", state)
						require.NoError(t, after.Check())
					}
					s.put(t, "key", "new")
					s.put(t, "key", "newer")
					require.Equal(t, append([]string{"newer", "new"}, test.left...), s.past("key"))
				})
			}
		}
	}
}

// Where there is neither a journal nor a history there is nothing to erase, and nothing is written.
func TestPurgeOfNothing(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	s.put(t, "key", "")
	for _, keys := range [][][]byte{nil, keysOf("key"), keysOf("key", "none")} {
		erased, version, err := s.Purge(keys)
		require.NoError(t, err)
		require.Zero(t, erased)
		require.Zero(t, version)
	}
	_, _, _, err := s.PurgePrefix([]byte("not a cursor"), nil)
	require.ErrorIs(t, err, ErrStaleCursor)
}

// By prefix, page by page, all keys with it are purged, and no others; a full store does it too.
func TestPurgePrefixOfMany(t *testing.T) {
	s := openTest(t, Options{History: 2}, fullHash)
	const n = 20_000
	for i := range n {
		for _, key := range []string{"user:", "other:"} {
			s.put(t, fmt.Sprint(key, i), "0")
			s.put(t, fmt.Sprint(key, i), "1")
		}
		if i%4 == 0 {
			s.del(t, fmt.Sprint("user:", i))
		}
	}
	s.budget.limit = 1
	erased, pages := 0, 0
	for cursor := []byte(nil); pages == 0 || cursor != nil; pages++ {
		gone, _, next, err := s.PurgePrefix(cursor, []byte("user:"))
		require.NoError(t, err)
		require.Less(t, gone, 3*(purgePage+2*segmentKeys), "a page is a bounded piece of work")
		erased, cursor = erased+gone, next
	}
	require.Equal(t, n+n/4*2, erased)
	require.Greater(t, pages, 10)
	require.EqualValues(t, n, s.Stats().History)
	require.EqualValues(t, n+n/4*3, s.Stats().Keys)
	for i := range n {
		require.Len(t, s.past(fmt.Sprint("other:", i)), 2)
		require.Equal(t, strings.Repeat("1", min(i%4, 1)), strings.Join(s.past(fmt.Sprint("user:", i)), ""))
	}
}

// A purge is one write like any other: seen at one instant, logged before it is, and refused where nothing may be written.
func TestPurgeIsRefusedWhole(t *testing.T) {
	j := newFakeJournal()
	s := openTest(t, Options{History: 2, Journal: j}, fullHash)
	for _, k := range []string{"a", "b"} {
		s.put(t, k, "0")
		s.put(t, k, "1")
	}
	j.refuseWith(errRefused)
	_, _, err := s.Purge(keysOf("a", "b"))
	require.ErrorIs(t, err, ErrReadOnly)
	require.Equal(t, []string{"1", "0"}, s.past("a"))
	require.NoError(t, s.Check())
}
