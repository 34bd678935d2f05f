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

func (m *model) get(t *rapid.T) {
	key := keyGen.Draw(t, "key")
	m.Warm(keysOf(key))
	m.read(t, m.live(key), m.Get([]byte(key)))
}

func (m *model) getMany(t *rapid.T) {
	keys := rapid.SliceOfN(keyGen, 0, 40).Draw(t, "keys")
	found := make([]Found, len(keys))
	v := m.View()
	defer v.Close()
	v.GetMany(found, keysOf(keys...))
	for i, k := range keys {
		m.read(t, m.live(k), v.Entry(found[i]))
	}
}

func (m *model) mget(t *rapid.T) {
	keys := rapid.SliceOfN(keyGen, 0, 32).Draw(t, "keys")
	m.Warm(keysOf(keys...))
	got := m.MGet(nil, keysOf(keys...))
	require.Len(t, got, len(keys))
	for i, k := range keys {
		m.read(t, m.live(k), got[i])
	}
}

// aVersion draws the key's version, one of its earlier ones, or one that never was.
func (m *model) aVersion(t *rapid.T, key string) uint64 {
	versions := []uint64{m.version(key), 0, 7}
	for _, r := range m.keys[key] {
		versions = append(versions, r.version)
	}
	return rapid.SampledFrom(versions).Draw(t, "version")
}

// aTime draws what a set says of its key's end: nothing, how long it lives, or when it expires, which may have been.
func (m *model) aTime(t *rapid.T) (ttl, at uint64) {
	if rapid.IntRange(0, 3).Draw(t, "absolute") > 0 {
		return ttlGen.Draw(t, "ttl"), 0
	}
	return 0, rapid.SampledFrom([]uint64{1, m.now() - 1, m.now(), m.now() + 1, m.now() + 20, math.MaxUint64}).Draw(t, "at")
}

// given is the revision that a set makes, without its version.
func (m *model) given(value string, ttl, at uint64) revision {
	switch {
	case at == 0:
		return revision{value: value, expiry: m.expiry(ttl)}
	case at <= m.now():
		return revision{deleted: true}
	}
	return revision{value: value, expiry: at}
}

func (m *model) set(t *rapid.T) {
	key, value := keyGen.Draw(t, "key"), valueGen.Draw(t, "value")
	o := SetOptions{Conditional: rapid.Bool().Draw(t, "conditional")}
	o.TTL, o.ExpireAt = m.aTime(t)
	if o.Conditional {
		o.IfVersion = m.aVersion(t, key)
	}
	version, err := m.Set([]byte(key), []byte(value), o)
	if o.Conditional && m.version(key) != o.IfVersion {
		var conflict *ConflictError
		require.ErrorAs(t, err, &conflict)
		require.Equal(t, &ConflictError{Version: m.version(key)}, conflict)
		return
	}
	if m.applied(t, version, err, false) {
		m.sets++
		r := m.given(value, o.TTL, o.ExpireAt)
		r.version = version
		m.push(key, r)
	}
}

func (m *model) mset(t *rapid.T) {
	keys := rapid.SliceOfN(keyGen, 0, 8).Draw(t, "keys")
	var pairs []Pair
	last := map[string]string{}
	for _, k := range keys {
		last[k] = valueGen.Draw(t, "value")
		pairs = append(pairs, Pair{[]byte(k), []byte(last[k])})
	}
	version, err := m.MSet(pairs)
	if len(pairs) == 0 {
		require.NoError(t, err)
		require.Zero(t, version)
		return
	}
	if m.applied(t, version, err, false) {
		m.sets += uint64(len(pairs))
		for k, v := range last {
			m.push(k, revision{version: version, value: v})
		}
	}
}

// fill sets many keys, some of them with an expiry, so that segments split.
func (m *model) fill(t *rapid.T) {
	from := rapid.IntRange(0, 400).Draw(t, "from")
	ttl := ttlGen.Draw(t, "ttl")
	var ops []Op
	for i := range 100 {
		ops = append(ops, Op{Kind: OpSet, Key: fmt.Append(nil, "fill", from+i), TTL: ttl})
	}
	results, version, err := m.Txn(nil, nil, ops)
	if m.applied(t, version, err, false) {
		require.Len(t, results, len(ops))
		m.sets += uint64(len(ops))
		for _, o := range ops {
			m.push(string(o.Key), revision{version: version, expiry: m.expiry(ttl)})
		}
	}
}

func (m *model) delete(t *rapid.T) {
	keys := rapid.SliceOfN(keyGen, 0, 5).Draw(t, "keys")
	if rapid.Bool().Draw(t, "one") {
		keys = []string{keyGen.Draw(t, "key")}
	}
	existed := map[string]bool{}
	for _, k := range keys {
		if m.live(k) != nil {
			existed[k] = true
		}
	}
	n, version, err := m.Del(keysOf(keys...))
	require.NoError(t, err)
	require.Equal(t, len(existed), n)
	m.dels += uint64(len(keys))
	if n == 0 {
		require.Zero(t, version)
		return
	}
	require.True(t, m.applied(t, version, err, true))
	for k := range existed {
		m.push(k, revision{version: version, deleted: true})
	}
}

func (m *model) txn(t *rapid.T) {
	var conds []Condition
	conflict := -1
	for i := range rapid.IntRange(0, 2).Draw(t, "conditions") {
		key := keyGen.Draw(t, "key")
		q := Condition{Key: []byte(key), Version: m.version(key)}
		if rapid.IntRange(0, 3).Draw(t, "other") == 0 {
			q.Version = m.aVersion(t, key)
		}
		if conflict < 0 && q.Version != m.version(key) {
			conflict = i
		}
		conds = append(conds, q)
	}

	// few keys, so that the operations meet
	pool := rapid.SliceOfN(keyGen, 1, 3).Draw(t, "pool")
	var ops []Op
	want := []*revision{} // of an OpGet, or of an OpDel if it existed; without their new version
	staged := map[string]*revision{}
	current := func(key string) *revision {
		if r, ok := staged[key]; ok {
			if r.deleted || r.expiry != 0 && r.expiry <= m.now() {
				return nil
			}
			return r
		}
		return m.live(key)
	}
	var sets, dels uint64
	for range rapid.IntRange(0, 8).Draw(t, "operations") {
		key := rapid.SampledFrom(pool).Draw(t, "key")
		op := Op{Kind: rapid.SampledFrom([]OpKind{OpGet, OpSet, OpDel}).Draw(t, "kind"), Key: []byte(key)}
		want = append(want, current(key))
		switch op.Kind {
		case OpSet:
			sets++
			value := valueGen.Draw(t, "value")
			op.Value = []byte(value)
			op.TTL, op.ExpireAt = m.aTime(t)
			r := m.given(value, op.TTL, op.ExpireAt)
			staged[key] = &r
		case OpDel:
			dels++
			if current(key) != nil {
				staged[key] = &revision{deleted: true}
			}
		}
		ops = append(ops, op)
	}

	results, version, err := m.Txn(nil, conds, ops)
	if conflict >= 0 {
		var got *ConflictError
		require.ErrorAs(t, err, &got)
		require.Equal(t, &ConflictError{conflict, m.version(string(conds[conflict].Key))}, got)
		require.Zero(t, version)
		require.Empty(t, results)
		return
	}
	if len(staged) == 0 {
		require.NoError(t, err)
		require.Zero(t, version)
	} else if !m.applied(t, version, err, sets == 0) {
		require.Empty(t, results)
		return
	}
	m.sets, m.dels = m.sets+sets, m.dels+dels
	require.Len(t, results, len(ops))
	for i, o := range ops {
		switch {
		case o.Kind == OpDel:
			require.Equal(t, want[i] != nil, results[i].Existed)
		case o.Kind == OpGet && want[i] == nil:
			m.read(t, nil, results[i].Entry)
		case o.Kind == OpGet:
			r := *want[i]
			if r.version == 0 {
				r.version = version
			}
			m.read(t, &r, results[i].Entry)
		}
	}
	for k, r := range staged {
		r.version = version
		m.push(k, *r)
	}
}

func (m *model) scan(t *rapid.T) {
	o := ScanOptions{
		Prefix: []byte(rapid.SampledFrom([]string{"", "k", "k1", "fill2", "none"}).Draw(t, "prefix")),
		Limit:  rapid.SampledFrom([]int{0, 1, 7}).Draw(t, "limit"),
		Values: rapid.Bool().Draw(t, "values"),
	}
	want, got := map[string]revision{}, map[string]revision{}
	for k := range m.keys {
		if r := m.live(k); r != nil && strings.HasPrefix(k, string(o.Prefix)) {
			want[k] = *r
		}
	}
	n := 0
	var page Page
	for more := true; more; more = page.Next != nil {
		var err error
		page, err = m.Scan(page.Next, o)
		require.NoError(t, err)
		for _, e := range page.Entries {
			r := revisionOf(e)
			if !o.Values {
				require.Empty(t, r.value)
				r.value = want[string(e.Key())].value
			}
			got[string(e.Key())] = r
			n++
		}
	}
	require.Equal(t, want, got)
	require.Len(t, got, n, "a key came twice")
}

// visible returns what History shows of key.
func (m *model) visible(key string) []revision {
	if m.keep == 0 && m.live(key) == nil {
		return nil
	}
	return m.keys[key][:m.young(key)]
}

// young returns how many of the key's versions are not too old: the current one, and what was replaced a short time ago.
func (m *model) young(key string) int {
	for i, r := range m.keys[key] {
		if i > 0 {
			r = m.keys[key][i-1]
		}
		if m.age > 0 && (i > 0 || r.deleted) && r.version+uint64(m.age) <= m.micros() {
			return i
		}
	}
	return len(m.keys[key])
}

func (m *model) history(t *rapid.T) {
	key, limit := keyGen.Draw(t, "key"), rapid.IntRange(0, 3).Draw(t, "limit")
	want := m.visible(key)
	if limit > 0 {
		want = want[:min(limit, len(want))]
	}
	var got []revision
	for _, r := range m.History(nil, []byte(key), limit) {
		got = append(got, revisionOf(r.Entry))
	}
	require.True(t, slices.Equal(want, got), "want %v, got %v", want, got)
}

// kept returns the revision of key that has this version; nil if it is not kept.
func (m *model) kept(key string, version uint64) *revision {
	for _, r := range m.visible(key) {
		if r.version == version {
			return &r
		}
	}
	return nil
}

func (m *model) getVersion(t *rapid.T) {
	key := keyGen.Draw(t, "key")
	version := m.aVersion(t, key)
	want := m.kept(key, version)
	if want != nil && want.deleted {
		want = nil
	}
	m.read(t, want, m.GetVersion([]byte(key), version))
}

func (m *model) rollback(t *rapid.T) {
	key := keyGen.Draw(t, "key")
	to := m.aVersion(t, key)
	old := m.kept(key, to)
	version, err := m.Rollback([]byte(key), to)
	switch {
	case old == nil:
		require.ErrorIs(t, err, ErrNoVersion)
	case old.deleted && m.live(key) == nil:
		require.NoError(t, err)
		require.Equal(t, to, version)
	case m.applied(t, version, err, old.deleted):
		if old.deleted {
			m.dels++
		} else {
			m.sets++
		}
		m.push(key, revision{version: version, value: old.value, deleted: old.deleted})
	}
}

// purge erases the past of some keys, or of all with a prefix.
func (m *model) purge(t *rapid.T) {
	keys := rapid.SliceOfN(keyGen, 0, 5).Draw(t, "keys")
	if rapid.Bool().Draw(t, "by prefix") {
		keys = keys[:0]
		prefix := rapid.SampledFrom([]string{"", "k", "k1", "fill2", "none"}).Draw(t, "prefix")
		for k := range m.keys {
			if strings.HasPrefix(k, prefix) {
				keys = append(keys, k)
			}
		}
		want, got := m.forget(keys), 0
		for cursor, more := []byte(nil), true; more; more = cursor != nil {
			erased, version, next, err := m.PurgePrefix(cursor, []byte(prefix))
			require.NoError(t, err)
			m.last = max(m.last, version)
			got, cursor = got+erased, next
		}
		require.Equal(t, want, got)
		return
	}
	want := m.forget(keys)
	erased, version, err := m.Purge(keysOf(keys...))
	require.NoError(t, err)
	require.Equal(t, want, erased)
	if version != 0 {
		require.Greater(t, version, m.last)
		m.last = version
	} else if len(keys) > 0 {
		require.Zero(t, want)
		require.Nil(t, m.journal)
	}
}

// forget leaves of keys what is current, and returns how many versions that erases.
func (m *model) forget(keys []string) (erased int) {
	for _, k := range keys {
		erased += len(m.keys[k])
		if r := m.live(k); r != nil {
			erased--
			m.keys[k] = []revision{*r}
		} else {
			delete(m.keys, k)
		}
	}
	return erased
}

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

// dump returns all that the model knows.
func (m *model) dump() map[string][]revision { return m.keys }

// dumpOf returns all that a walk shows, in the form of the model.
func dumpOf(t *rapid.T, s *Store) map[string][]revision {
	all := map[string][]revision{}
	require.NoError(t, s.Walk(func(e *Entry) error {
		key := string(e.Key())
		all[key] = append([]revision{revisionOf(e)}, all[key]...)
		return nil
	}))
	return all
}

// walked returns what a walk shows as records.
func walked(t *rapid.T, s *Store) (records []record) {
	require.NoError(t, s.Walk(func(e *Entry) error {
		records = append(records, record{e.version, []*Entry{e.Clone()}})
		return nil
	}))
	return records
}

// replayed returns a new store that is filled with records.
func replayed(t *rapid.T, records []record, keep int, mask uint64) *Store {
	j := newFakeJournal()
	j.records = records
	j.state = rapid.IntRange(0, len(records)).Draw(t, "state")
	return openTest(t, Options{Journal: j, History: keep}, mask).Store
}

// shuffled returns the records of one entry each, those of one key in order, but those of different keys in any; and of
// each key again from some record on, as after a snapshot that the log overlaps.
func shuffled(records []record, rng *rand.Rand) []record {
	byKey := map[string][]record{}
	var turns []string
	for _, r := range records {
		for _, e := range r.entries {
			key := string(e.Key())
			byKey[key] = append(byKey[key], record{r.version, []*Entry{e}})
			turns = append(turns, key)
		}
	}
	for key, all := range byKey {
		again := all[rng.IntN(len(all)):]
		byKey[key] = append(slices.Clip(all), again...)
		for range again {
			turns = append(turns, key)
		}
	}
	slices.Sort(turns)
	rng.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	var mixed []record
	for _, key := range turns {
		mixed = append(mixed, byKey[key][0])
		byKey[key] = byKey[key][1:]
	}
	return mixed
}
