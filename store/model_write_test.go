package store

import (
	"fmt"
	"math"
	"strings"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

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
