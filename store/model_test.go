package store

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestModel runs random operations on a store and on a plain map, and compares all that can be seen.
func TestModel(t *testing.T) {
	for _, m := range masks {
		t.Run(m.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { runModel(t, m.mask) })
		})
	}
}

func runModel(t *rapid.T, mask uint64) {
	keep := rapid.SampledFrom([]int{0, 1, 3}).Draw(t, "history")
	journaled := rapid.Bool().Draw(t, "journal")
	var journal *fakeJournal
	o := Options{History: keep, HistoryAge: rapid.SampledFrom([]time.Duration{0, 0, 25 * time.Millisecond}).Draw(t, "age")}
	if journaled {
		journal = newFakeJournal()
		o.Journal = journal
	}
	m := &model{opened: openTest(t, o, mask), keep: keep, age: o.HistoryAge.Microseconds(), keys: map[string][]revision{}}
	if rapid.IntRange(0, 3).Draw(t, "limited") == 0 {
		m.limited = true
		m.budget.limit = m.budget.used.Load() + int64(rapid.IntRange(0, 200_000).Draw(t, "room"))
	}
	actions := map[string]func(*rapid.T){
		"":           m.invariants,
		"Get":        m.get,
		"MGet":       m.mget,
		"GetMany":    m.getMany,
		"Set":        m.set,
		"MSet":       m.mset,
		"Del":        m.delete,
		"Txn":        m.txn,
		"Update":     m.update,
		"Scan":       m.scan,
		"History":    m.history,
		"GetVersion": m.getVersion,
		"Rollback":   m.rollback,
		"Purge":      m.purge,
		"Time":       m.time,
		"Sweep":      m.sweepAll,
		"Fill":       m.fill,
	}
	if m.limited {
		actions["Evict"] = m.giveUp
	}
	for range 3 {
		t.Repeat(actions)
	}
	if m.age > 0 {
		m.sweepAll(t) // a walk shows what is too old until it is swept
	}
	want := m.dump()
	require.Equal(t, want, dumpOf(t, m.Store))
	require.Equal(t, want, dumpOf(t, replayed(t, walked(t, m.Store), keep, mask)), "a walk, replayed")
	if journaled && !m.limited && m.age == 0 { // else the store that replays would need the time
		require.Equal(t, want, dumpOf(t, replayed(t, journal.records, keep, mask)), "the log, replayed")
		require.Equal(t, want, dumpOf(t, applied(t, journal.records, keep, mask)), "the log, applied to an open store")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "shuffle"), 0))
		require.Equal(t, want, dumpOf(t, replayed(t, shuffled(journal.records, rng), keep, mask)), "the log, shuffled")
	}
}

// revision is one version of a key, as the model knows it.
type revision struct {
	version uint64
	value   string
	expiry  uint64
	deleted bool
}

// model is a store beside a plain map that should say the same.
type model struct {
	opened
	keep    int
	age     int64 // of history, in microseconds; 0: any
	limited bool  // some writes are refused, and history may go

	// keys has each key's versions, newest first; the first one is a deletion where the key was deleted and has a history.
	keys map[string][]revision
	last uint64 // the last version that was given
	lead int64  // how far the wall clock has been ahead at most, in microseconds

	gets, sets, dels uint64
	misses, expired  uint64
}

func (m *model) micros() uint64 { return uint64(fakeStart + m.clock.mono.Load() + m.lead) }

func (m *model) now() uint64 { return m.micros() / 1000 }

// stored returns what the key's slot holds, expired or not.
func (m *model) stored(key string) *revision {
	if r := m.keys[key]; len(r) > 0 && !r[0].deleted {
		return &r[0]
	}
	return nil
}

// live returns what a reader finds; nil if the key is absent.
func (m *model) live(key string) *revision {
	r := m.stored(key)
	if r == nil || r.expiry != 0 && r.expiry <= m.now() {
		return nil
	}
	return r
}

func (m *model) version(key string) uint64 {
	if r := m.live(key); r != nil {
		return r.version
	}
	return 0
}

func (m *model) expiry(ttl uint64) uint64 {
	switch {
	case ttl == 0:
		return 0
	case ttl > math.MaxUint64-m.now():
		return math.MaxUint64
	}
	return m.now() + ttl
}

// push gives key a new revision.
func (m *model) push(key string, r revision) {
	if r.deleted && m.stored(key) == nil {
		return // it was absent and stays so
	}
	all := append([]revision{r}, m.keys[key]...)
	all = all[:min(len(all), m.keep+1)]
	if len(all) == 1 && r.deleted {
		delete(m.keys, key)
		return
	}
	m.keys[key] = all
}

// applied reports whether a write was applied, which it was unless memory was short.
func (m *model) applied(t *rapid.T, version uint64, err error, onlyDeletes bool) bool {
	if errors.Is(err, ErrOutOfMemory) {
		require.True(t, m.limited, "out of memory without a limit")
		require.False(t, onlyDeletes, "a deletion was refused")
		require.Greater(t, m.budget.used.Load()+192<<10, m.budget.limit, "there is room")
		return false
	}
	require.NoError(t, err)
	require.Greater(t, version, m.last, "versions must rise")
	m.last = version
	return true
}

func (m *model) same(t *rapid.T, want *revision, got *Entry) {
	if want == nil {
		require.Nil(t, got)
		return
	}
	require.NotNil(t, got)
	require.Equal(t, *want, revisionOf(got))
}

// read is same, of what a get that counts has returned.
func (m *model) read(t *rapid.T, want *revision, got *Entry) {
	m.gets++
	if want == nil {
		m.misses++
	}
	m.same(t, want, got)
}

func revisionOf(e *Entry) revision {
	return revision{e.Version(), string(e.Value()), e.Expiry(), e.Deleted()}
}

// invariants compares the figures, and where history may go by itself makes sure that nothing else did.
func (m *model) invariants(t *rapid.T) {
	var want, got Stats
	got = m.Stats()
	for _, all := range m.keys {
		for i, r := range all {
			if i == 0 && !r.deleted {
				want.Keys++
				want.ValueBytes += uint64(len(r.value))
				if r.expiry != 0 {
					want.Expiring++
				}
			} else {
				want.History++
			}
		}
	}
	if m.limited && m.keep > 0 {
		m.adopt(t)
		want.History = got.History
	}
	want.GetOps, want.SetOps, want.DelOps, want.MemoryBytes = m.gets, m.sets, m.dels, got.MemoryBytes
	want.Misses, want.Expired = m.misses, m.expired
	if m.limited {
		want.Evicted = got.Evicted
	}
	require.Equal(t, want, got)
	require.Equal(t, m.now(), m.Store.clock.now().millis())
}

// adopt takes over the store's history, which may lack some of the model's, but never the current version.
func (m *model) adopt(t *rapid.T) {
	for key, all := range m.keys {
		kept := m.withHistory(nil, []byte(key)) // what is too old, too, as long as it is there
		slices.Reverse(kept)
		var left []revision
		for _, e := range kept {
			i := slices.Index(all, revisionOf(e))
			require.GreaterOrEqual(t, i, 0, "%q has a version that it should not have", key)
			left = append(left, all[i])
			all = all[i+1:]
		}
		if r := m.stored(key); r != nil {
			require.NotEmpty(t, left)
			require.Equal(t, *r, left[0])
		}
		if m.keys[key] = left; len(left) == 0 {
			delete(m.keys, key)
		}
	}
}

var (
	keyGen = rapid.Custom(func(t *rapid.T) string {
		i := rapid.IntRange(-1, 9).Draw(t, "key")
		switch i {
		case -1:
			return ""
		case 9:
			return fmt.Sprint("fill", rapid.IntRange(0, 499).Draw(t, "fill"))
		}
		return fmt.Sprint("k", i/3) // few, so that much happens to each
	})
	valueGen = rapid.OneOf(
		rapid.StringMatching(`[a-z]{0,3}`),
		rapid.Map(rapid.IntRange(0, 3000), func(n int) string { return strings.Repeat("v", n) }),
	)
	ttlGen = rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64Range(1, 30), rapid.Just(uint64(math.MaxUint64)))
)

// time passes, or the wall clock is set forward or back.
func (m *model) time(t *rapid.T) {
	m.clock.pass(rapid.Int64Range(0, 20).Draw(t, "passes"))
	m.clock.wall.Add(rapid.SampledFrom([]int64{0, 0, 0, 5_000, -50_000}).Draw(t, "set"))
	m.lead = max(m.lead, m.clock.wall.Load()-m.clock.mono.Load())
	m.Store.clock.follow()
}

func (m *model) sweepAll(t *rapid.T) {
	m.sweep()
	m.sweep() // what the first has made may be too old, by a wall clock that is behind a little
	// Each deletion takes a version of its own, in an order that is nobody's business.
	for k := range m.keys {
		if m.stored(k) == nil || m.live(k) != nil {
			continue
		}
		m.expired++
		version := m.last + 1
		if m.keep > 0 {
			left := m.History(nil, []byte(k), 0)
			if len(left) == 0 { // it was
				require.NotZero(t, m.age)
				delete(m.keys, k)
				continue
			}
			e := left[0].Entry
			require.True(t, e.Deleted())
			require.Greater(t, e.version, m.stored(k).version)
			version = e.version
		}
		m.push(k, revision{version: version, deleted: true})
	}
	for k, all := range m.keys {
		if m.keys[k] = all[:m.young(k)]; len(m.keys[k]) == 0 {
			delete(m.keys, k)
		}
	}
	require.NoError(t, m.Check())
}

// giveUp makes the oldest history go.
func (m *model) giveUp(t *rapid.T) {
	m.dropHistory(m.budget.limit - m.budget.used.Load() + int64(rapid.IntRange(1, 1000).Draw(t, "bytes")))
}
