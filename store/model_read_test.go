package store

import (
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
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
