package store

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// scanAll follows the cursors to the end and returns how often each key came.
func scanAll(t require.TestingT, c *Session, o ScanOptions) map[string]int {
	seen := map[string]int{}
	var page Page
	for more := true; more; more = page.Next != nil {
		var err error
		page, err = c.Scan(page.Next, o)
		require.NoError(t, err)
		for _, e := range page.Entries {
			seen[string(e.Key())]++
		}
	}
	return seen
}

func walkAll(t require.TestingT, s *Store) map[string]int {
	seen := map[string]int{}
	require.NoError(t, s.Walk(func(e *Entry) error {
		seen[string(e.Key())]++
		return nil
	}))
	return seen
}

// TestScanBesideSplits: each key that is there throughout comes exactly once, each other at most once, whatever splits.
func TestScanBesideSplits(t *testing.T) {
	for _, m := range []struct {
		name        string
		mask        uint64
		steady, new int
	}{
		{"whole", fullHash, 1000, 20_000},
		{"oneShard", fullHash >> shardBits, 1000, 10_000},
		{"low4", 0xf, 100, 800},
	} {
		t.Run(m.name, func(t *testing.T) {
			s := openTest(t, Options{}, m.mask)
			for i := range m.steady {
				s.put(t, fmt.Sprint("steady", i), "")
			}
			stop := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				defer close(stop)
				c := s.Store.Session()
				defer c.Close()
				for i := range m.new {
					_, err := c.Set(fmt.Append(nil, "new", i), nil, SetOptions{})
					assert.NoError(t, err)
					if i%3 == 0 {
						_, _, err = c.Del([][]byte{fmt.Append(nil, "new", i/2)})
						assert.NoError(t, err)
					}
					// The steady ones are overwritten, alone and together.
					if i%7 == 0 {
						_, err = c.MSet(pairsOf(fmt.Sprint("steady", i%m.steady), "x", fmt.Sprint("steady", (i+1)%m.steady), "x"))
						assert.NoError(t, err)
					}
				}
			})
			for round := 0; ; round++ {
				for what, seen := range map[string]map[string]int{
					"scan":         scanAll(t, s.Session, ScanOptions{Limit: 100}),
					"short pages":  scanAll(t, s.Session, ScanOptions{Limit: 1, Prefix: []byte("steady")}),
					"walk":         walkAll(t, s.Store),
					"large values": scanAll(t, s.Session, ScanOptions{Values: true}),
				} {
					steady := 0
					for k, n := range seen {
						require.Equal(t, 1, n, "%s: %s", what, k)
						if k[0] == 's' {
							steady++
						}
					}
					require.Equal(t, m.steady, steady, what)
				}
				select {
				case <-stop:
					wg.Wait()
					return
				default:
				}
			}
		})
	}
}

func TestScanPages(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	for i := range 3000 {
		s.put(t, fmt.Sprint("key", i), "")
	}
	page, err := s.Scan(nil, ScanOptions{Limit: 10})
	require.NoError(t, err)
	require.Len(t, page.Entries, 10)
	page, err = s.Scan(page.Next, ScanOptions{})
	require.NoError(t, err)
	require.Len(t, page.Entries, defaultPage)

	// No page gets long because few keys match, or because values are large.
	page, err = s.Scan(nil, ScanOptions{Prefix: []byte("none")})
	require.NoError(t, err)
	require.Empty(t, page.Entries)
	large := openTest(t, Options{}, fullHash)
	for i := range 20 {
		large.put(t, fmt.Sprint("key", i), string(make([]byte, PageBytes/4)))
	}
	page, err = large.Scan(nil, ScanOptions{Values: true})
	require.NoError(t, err)
	require.Len(t, page.Entries, 4)
	page, err = large.Scan(nil, ScanOptions{})
	require.NoError(t, err)
	require.Len(t, page.Entries, 20, "values do not count where they are not wanted")
}

// Keys whose hashes are all the same go on one page: no cursor could part them.
func TestScanOfOneHash(t *testing.T) {
	s := openTest(t, Options{}, 0)
	for i := range 500 {
		s.put(t, fmt.Sprint("key", i), "")
	}
	page, err := s.Scan(nil, ScanOptions{Limit: 1})
	require.NoError(t, err)
	require.Len(t, page.Entries, 500)
	require.Len(t, scanAll(t, s.Session, ScanOptions{Limit: 1}), 500)
}

func TestStaleCursor(t *testing.T) {
	s, other := openTest(t, Options{}, fullHash), openTest(t, Options{}, fullHash)
	for i := range 100 {
		s.put(t, fmt.Sprint(i), "")
	}
	page, err := s.Scan(nil, ScanOptions{Limit: 1})
	require.NoError(t, err)
	_, err = s.Scan(page.Next, ScanOptions{})
	require.NoError(t, err)
	_, err = other.Scan(page.Next, ScanOptions{})
	require.ErrorIs(t, err, ErrStaleCursor)
	for _, cursor := range []string{"x", string(page.Next[:15]), string(page.Next) + "x", string(make([]byte, 16))} {
		_, err = s.Scan([]byte(cursor), ScanOptions{})
		require.ErrorIs(t, err, ErrStaleCursor, "%q", cursor)
	}
	// To begin with, an empty cursor is as good as none.
	page, err = s.Scan([]byte{}, ScanOptions{})
	require.NoError(t, err)
	require.Len(t, page.Entries, 100)
}

func TestWalkStops(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	for i := range 100 {
		s.put(t, fmt.Sprint(i), "")
	}
	enough := errors.New("enough")
	n := 0
	require.ErrorIs(t, s.Walk(func(*Entry) error {
		if n++; n == 10 {
			return enough
		}
		return nil
	}), enough)
	require.Equal(t, 10, n)
}

// What a walk shows is a copy, of each kind of entry, that lasts until the next is shown, and longer if it is kept.
func TestWalkCopies(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	type shown struct {
		value   string
		version uint64
		expires bool
	}
	show := func(e *Entry) shown { return shown{string(e.Value()), e.Version(), e.Expiry() != 0} }
	want := map[string]shown{}
	for i := range 1000 { // a few for each shard
		value := strings.Repeat(string(rune('a'+i%26)), []int{0, 1, 32, 1000, 4096, 4097, 20_000}[i%7])
		for _, o := range []SetOptions{{}, {TTL: 3_600_000}} {
			for _, size := range []int{1, 300} {
				key := fmt.Sprintf("%d %d %0*d", i, o.TTL, size, 0)
				version, err := s.Set([]byte(key), []byte(value), o)
				require.NoError(t, err)
				want[key] = shown{value, version, o.TTL != 0}
			}
		}
	}
	at, later := map[string]shown{}, map[string]shown{}
	var kept []*Entry
	require.NoError(t, s.Walk(func(e *Entry) error {
		at[string(e.Key())] = show(e)
		kept = append(kept, e.Clone())
		return nil
	}))
	for _, e := range kept {
		later[string(e.Key())] = show(e)
	}
	require.Equal(t, want, at)
	require.Equal(t, want, later)
}

// A walk shows a key's history oldest first, in one piece.
func TestWalkShowsHistory(t *testing.T) {
	for _, m := range masks {
		t.Run(m.name, func(t *testing.T) {
			s := openTest(t, Options{History: 5}, m.mask)
			for i := range 3 {
				for _, k := range []string{"a", "b", "c"} {
					s.put(t, k, fmt.Sprint(i))
				}
				s.del(t, "b")
			}
			got := map[string]string{}
			last := ""
			require.NoError(t, s.Walk(func(e *Entry) error {
				k := string(e.Key())
				require.True(t, k == last || got[k] == "", "%s comes in pieces", k)
				got[k] += text(e)
				last = k
				return nil
			}))
			require.Equal(t, map[string]string{"a": "012", "b": "0-1-2-", "c": "012"}, got)
		})
	}
}
