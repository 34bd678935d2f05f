package store

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var errGivenUp = errors.New("given up")

// update runs random steps in one Update, which may end with an error or a panic.
func (m *model) update(t *rapid.T) {
	pool := rapid.SliceOfN(keyGen, 1, 3).Draw(t, "pool")
	type step struct {
		kind  OpKind
		key   string
		value string
		at    uint64
	}
	var steps []step
	for range rapid.IntRange(0, 6).Draw(t, "steps") {
		s := step{kind: rapid.SampledFrom([]OpKind{OpGet, OpSet, OpDel}).Draw(t, "kind"), key: rapid.SampledFrom(pool).Draw(t, "key")}
		if s.kind == OpSet {
			s.value = valueGen.Draw(t, "value")
			if rapid.Bool().Draw(t, "expires") {
				s.at = rapid.SampledFrom([]uint64{1, m.now(), m.now() + 1, m.now() + 20}).Draw(t, "at")
			}
		}
		steps = append(steps, s)
	}
	counts := rapid.Bool().Draw(t, "counts")
	ending := rapid.SampledFrom([]string{"", "", "", "error", "panic"}).Draw(t, "ending")

	staged := map[string]*revision{}
	current := func(key string) *revision {
		if r, ok := staged[key]; ok {
			if r.deleted {
				return nil
			}
			return r
		}
		return m.live(key)
	}
	var sets, dels uint64
	change := func(u *Update) error {
		clear(staged)
		sets, dels = 0, 0
		require.Equal(t, m.now(), u.Now())
		for _, s := range steps {
			switch was := current(s.key); s.kind {
			case OpGet:
				found := u.Get([]byte(s.key))
				require.Equal(t, was != nil, found.Exists())
				if found.Exists() {
					require.Equal(t, *was, revisionOf(detach(found)))
				}
			case OpSet:
				sets++
				u.Set([]byte(s.key), []byte(s.value), s.at)
				r := m.given(s.value, 0, s.at)
				staged[s.key] = &r
			case OpDel:
				dels++
				require.Equal(t, was != nil, u.Delete([]byte(s.key)))
				if was != nil {
					staged[s.key] = &revision{deleted: true}
				}
			}
		}
		if counts {
			u.Count(3, 1, 0)
			u.Count(1, 0, 1)
			u.CountMisses(2)
		}
		switch ending {
		case "error":
			return errGivenUp
		case "panic":
			panic(errGivenUp)
		}
		return nil
	}
	var version uint64
	var err error
	func() {
		defer func() {
			if p := recover(); p != nil {
				err = p.(error)
			}
		}()
		version, err = m.Update(keysOf(pool...), change)
	}()
	if ending != "" {
		require.ErrorIs(t, err, errGivenUp)
		require.Zero(t, version)
		return
	}
	onlyDeletes := true
	for _, s := range steps {
		onlyDeletes = onlyDeletes && (s.kind != OpSet || s.at != 0 && s.at <= m.now())
	}
	if len(staged) == 0 {
		require.NoError(t, err)
		require.Zero(t, version)
	} else if !m.applied(t, version, err, onlyDeletes) {
		return
	}
	if counts {
		m.gets, m.misses, sets, dels = m.gets+4, m.misses+2, 1, 1
	}
	m.sets, m.dels = m.sets+sets, m.dels+dels
	for k, r := range staged {
		r.version = version
		m.push(k, *r)
	}
}

// Increments by many goroutines at once are all there: what one has read, no other has changed before it wrote.
func TestUpdatesAreAtomic(t *testing.T) {
	for _, m := range masks {
		t.Run(m.name, func(t *testing.T) {
			s := openTest(t, Options{Journal: newFakeJournal()}, m.mask)
			keys := keysOf("a", "b")
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					c := s.Store.Session()
					defer c.Close()
					for range 200 {
						_, err := c.Update(keys, func(u *Update) error {
							for _, k := range keys {
								n := 0
								if e := u.Get(k); e.Exists() {
									n, _ = strconv.Atoi(string(e.Value()))
								}
								u.Set(k, strconv.AppendInt(nil, int64(n+1), 10), 0)
							}
							return nil
						})
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			for range 200 { // a reader sees both or neither
				got := s.MGet(nil, keys)
				require.Equal(t, text(got[0]), text(got[1]))
			}
			wg.Wait()
			require.Equal(t, "800", text(s.Get(keys[0])))
		})
	}
}

// An update that touches a key which it was not given is a defect of its caller, and changes nothing, be the key's lock
// held or not.
func TestUpdateOfAKeyNotNamed(t *testing.T) {
	touches := map[string]func(*Update, []byte){
		"Get":    func(u *Update, key []byte) { u.Get(key) },
		"Set":    func(u *Update, key []byte) { u.Set(key, nil, 0) },
		"Delete": func(u *Update, key []byte) { u.Delete(key) },
	}
	for _, m := range masks {
		for name, touch := range touches {
			for _, n := range []int{0, 1, fewKeys, fewKeys + 1} {
				t.Run(fmt.Sprint(m.name, "/", name, "/", n), func(t *testing.T) {
					s := openTest(t, Options{}, m.mask)
					s.put(t, "other", "1")
					var keys [][]byte
					for i := range n {
						keys = append(keys, fmt.Append(nil, "key", i))
					}
					require.PanicsWithValue(t, `store: an update touches the key "other", which it was not given`, func() {
						s.Update(keys, func(u *Update) error {
							for _, k := range keys {
								u.Set(k, nil, 0)
							}
							touch(u, []byte("other"))
							return nil
						})
					})
					require.EqualValues(t, 1, s.Stats().Keys)
					require.Equal(t, "1", text(s.Get([]byte("other"))))
					s.put(t, "other", "2") // no lock is held
				})
			}
		}
	}
}

// An update is one version of each key, whatever it wrote in between, and so it is in the log.
func TestUpdateIsLoggedByEffect(t *testing.T) {
	j := newFakeJournal()
	s := openTest(t, Options{Journal: j, History: 4}, fullHash)
	s.put(t, "a", "0")
	s.put(t, "b", "0")
	n := len(j.records)
	now := s.Store.clock.now().millis()
	_, err := s.Update(keysOf("a", "b", "c", "d"), func(u *Update) error {
		u.Set([]byte("a"), []byte("1"), 0)
		u.Set([]byte("a"), []byte("2"), now+7)
		u.Set([]byte("b"), []byte("1"), now) // has passed
		u.Set([]byte("c"), []byte("1"), 0)
		require.True(t, u.Delete([]byte("c")))
		require.False(t, u.Delete([]byte("d")))
		return nil
	})
	require.NoError(t, err)
	require.Len(t, j.records, n+1)
	var logged []string
	for _, e := range j.records[n].entries {
		require.Zero(t, e.Version(), "it is the record that has one")
		logged = append(logged, fmt.Sprint(string(e.Key()), "=", text(e), " ", e.Expiry()))
	}
	require.ElementsMatch(t, []string{fmt.Sprint("a=2 ", now+7), "b=- 0"}, logged)
	require.Equal(t, []string{"2", "0"}, s.past("a"))
	require.Equal(t, []string{"-", "0"}, s.past("b"))
	require.Empty(t, s.past("c"))

	// What changes nothing is not logged, and has no version.
	version, err := s.Update(keysOf("a", "d"), func(u *Update) error { u.Get([]byte("a")); u.Delete([]byte("d")); return nil })
	require.NoError(t, err)
	require.Zero(t, version)
	require.Len(t, j.records, n+1)
}

// A key that keeps its expiry lives as long as it would have, though the clock was set back meanwhile.
func TestUpdateKeepsAnExpiry(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	for _, key := range []string{"ttl", "endless", "last"} {
		_, err := s.Set([]byte(key), nil, SetOptions{TTL: map[string]uint64{"ttl": 1000, "last": math.MaxUint64}[key]})
		require.NoError(t, err)
	}
	touch := func(key string) (expiry uint64) {
		_, err := s.Update(keysOf(key), func(u *Update) error {
			e := u.Get([]byte(key))
			expiry = u.Expiry(e)
			u.Set([]byte(key), []byte("new"), expiry)
			return nil
		})
		require.NoError(t, err)
		return expiry
	}
	began := s.Store.clock.now().millis()
	require.Equal(t, began+1000, touch("ttl"))
	require.Zero(t, touch("endless"))
	require.Equal(t, uint64(math.MaxUint64), touch("last"))

	s.clock.wall.Add(-3600_000_000)
	s.sweep()
	require.Equal(t, began-3600_000, s.Store.clock.now().millis())
	for range 2 {
		require.Equal(t, began-3600_000+1000, touch("ttl"))
		require.Zero(t, touch("endless"))
		require.Equal(t, uint64(math.MaxUint64), touch("last"))
	}
	s.clock.pass(999)
	require.Equal(t, "new", text(s.Get([]byte("ttl"))))
	s.clock.pass(1)
	require.Nil(t, s.Get([]byte("ttl")))
}

func TestUpdateIsRefused(t *testing.T) {
	set := func(u *Update) error { u.Set([]byte("key"), make([]byte, 64<<10), 0); return nil }
	keys := keysOf("key")
	get := func(u *Update) error { u.Get(keys[0]); return nil }

	t.Run("memory", func(t *testing.T) {
		s := openTest(t, Options{}, fullHash)
		s.put(t, "key", "old")
		s.budget.limit = s.budget.used.Load() + 1000
		before := s.Stats()
		_, err := s.Update(keys, set)
		require.ErrorIs(t, err, ErrOutOfMemory)
		require.Equal(t, before, s.Stats())
		require.Equal(t, "old", text(s.Get(keys[0])))
		s.budget.limit = 1
		_, err = s.Update(keys, func(u *Update) error { u.Delete(keys[0]); return nil })
		require.NoError(t, err, "deletions are never refused")
	})
	t.Run("history makes room", func(t *testing.T) {
		s := openTest(t, Options{History: 4}, fullHash)
		for range 4 {
			s.put(t, "key", strings.Repeat("v", 64<<10))
		}
		s.budget.limit = s.budget.used.Load()
		calls := 0
		_, err := s.Update(keys, func(u *Update) error {
			calls++
			require.Len(t, u.Get(keys[0]).Value(), 64<<10, "it starts from nothing")
			return set(u)
		})
		require.NoError(t, err)
		require.Greater(t, calls, 1)
		require.EqualValues(t, 5, s.Stats().SetOps)
	})
	t.Run("journal", func(t *testing.T) {
		j := newFakeJournal()
		s := openTest(t, Options{Journal: j}, fullHash)
		s.put(t, "key", "old")
		j.refuseWith(errRefused)
		_, err := s.Update(keys, set)
		require.ErrorIs(t, err, ErrReadOnly)
		require.Equal(t, "old", text(s.Get(keys[0])))
		_, err = s.Update(keys, get)
		require.NoError(t, err, "what only reads goes on")
		require.NoError(t, s.Close())
		_, err = s.Update(keys, set)
		require.ErrorIs(t, err, ErrReadOnly)
		_, err = s.Update(keys, get)
		require.NoError(t, err)
	})
	t.Run("too large", func(t *testing.T) {
		s := openTest(t, Options{}, fullHash)
		_, err := s.Update(keysOf("key", "small"), func(u *Update) error {
			u.Set([]byte("small"), nil, 0)
			u.Set(keys[0], make([]byte, MaxLen+1), 0) // never touched, so never in memory
			return nil
		})
		require.ErrorIs(t, err, ErrTooLarge)
		require.Zero(t, s.Stats().Keys)
	})
}
