package table

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// version is what a model keeps of one write of a key.
type version struct {
	number  uint64
	value   string
	deleted bool
}

// Earlier versions beside lists of them, with deletions, transactions, fewer versions to keep from one write to the
// next, compaction, and versions that are forgotten.
func TestRevisionsModel(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		table := c.openKeeping(t, 128<<20, true)
		w := newWriter(table)
		rnd := rand.New(rand.NewPCG(1, 3))
		model := make(map[string][]version) // oldest first, the current one last
		space, steps := 300, 20_000
		if c.mask == 0 {
			space, steps = 40, 3000
		}
		if race {
			steps /= 6
		}
		note := func(k []byte, v version) {
			all := append(model[string(k)], v)
			for dropped := 0; len(all) > w.keep+1 && dropped <= dropAtOnce; dropped++ {
				all = all[1:]
			}
			model[string(k)] = all
		}
		live := func(k []byte) bool {
			all := model[string(k)]
			return len(all) > 0 && !all[len(all)-1].deleted
		}
		value := func() []byte {
			if rnd.IntN(50) == 0 {
				return make([]byte, rnd.IntN(20_000))
			}
			return make([]byte, rnd.IntN(100))
		}
		for step := range steps {
			if step%500 == 0 {
				w.keep = []int{1, 5, 20, 2, 100, 0}[rnd.IntN(6)]
			}
			k := key(rnd.IntN(space))
			switch p := rnd.IntN(100); {
			case p < 50:
				v := value()
				note(k, version{number: w.set(Spec{Key: k, Value: v}), value: string(v)})
			case p < 65:
				require.Equal(t, live(k), w.del(k))
				if live(k) {
					note(k, version{number: w.versions.Load(), deleted: true})
				}
			case p < 85:
				var specs []Spec
				left := make(map[string]Spec)
				for range 1 + rnd.IntN(20) {
					s := Spec{Key: key(rnd.IntN(space)), Value: value(), Deleted: rnd.IntN(3) == 0}
					if s.Deleted {
						s.Value = nil
					}
					specs = append(specs, s)
					left[string(s.Key)] = s
				}
				commit := rnd.IntN(4) > 0
				w.many(specs, commit)
				for k, s := range left {
					// A key that was absent and is so in the end has no trace of it, unless it was kept as deleted.
					if !commit || s.Deleted && len(model[k]) == 0 || s.Deleted && !live([]byte(k)) && !slices.ContainsFunc(specs, func(o Spec) bool { return string(o.Key) == k && !o.Deleted }) {
						continue
					}
					note([]byte(k), version{number: w.versions.Load(), value: string(s.Value), deleted: s.Deleted})
				}
			case p < 95:
				forget(t, table, model, k, 1+rnd.IntN(10), rnd.IntN(3) == 0)
			case p == 99:
				table.Compact(1 << 30)
			}
			if step%(steps/5) == steps/5-1 {
				sameVersions(t, table, model)
			}
		}
		sameVersions(t, table, model)
		for k := range model {
			for len(model[k]) > 1 || len(model[k]) == 1 && model[k][0].deleted {
				forget(t, table, model, []byte(k), 1000, true)
			}
		}
		drain(table)
		sameVersions(t, table, model)
	})
}

// forget drops some of a key's oldest versions, or all, from the table and the model.
func forget(t *testing.T, table *Table, model map[string][]version, k []byte, most int, all bool) {
	versions := model[string(k)]
	until := ^uint64(0)
	if !all && len(versions) > 0 {
		until = versions[len(versions)/2].number
	}
	h := table.Hash(k)
	sh := table.Shard(ShardOf(h))
	sh.Lock()
	p := sh.Find(h, k)
	dropped, gone := sh.Forget(&p, most, func(e Entry, replacedBy uint64) bool {
		require.Greater(t, replacedBy, e.Version())
		return e.Version() <= until
	})
	sh.Unlock()
	want := 0
	for len(versions) > 1 && versions[0].number <= until && want < most {
		versions = versions[1:]
		want++
	}
	if len(versions) == 1 && versions[0].deleted {
		versions = nil
	}
	require.Equal(t, want, dropped)
	require.Equal(t, versions == nil && len(model[string(k)]) > 0, gone)
	if len(versions) == 0 {
		delete(model, string(k))
		return
	}
	model[string(k)] = versions
}

func sameVersions(t *testing.T, table *Table, model map[string][]version) {
	t.Helper()
	found := 0
	require.NoError(t, table.Check(func(Entry) { found++ }))
	require.Equal(t, len(model), found)
	for k, versions := range model {
		h := table.Hash([]byte(k))
		sh := table.Shard(ShardOf(h))
		sh.Lock()
		p := sh.Find(h, []byte(k))
		got := []version{of(p.Entry())}
		sh.Revisions(&p, func(e Entry) bool {
			got = append(got, of(e))
			return true
		})
		sh.Unlock()
		slices.Reverse(got)
		require.Equal(t, versions, got, "%s", k)
	}
}

func of(e Entry) version { return version{e.Version(), string(e.Value()), e.Deleted()} }

// Where nothing is kept any more of a key's past, nothing is left that would lead to it, be it of a key that had one or not.
func TestNoPastTakesNothing(t *testing.T) {
	configs(t, func(t *testing.T, c config) {
		table := c.openKeeping(t, 16<<20, true)
		w := newWriter(table)
		for keep := range 4 {
			for i := range 100 {
				w.keep = keep
				for range keep + 1 {
					w.set(Spec{Key: key(i), Value: []byte("value")})
				}
				w.keep = 0
				w.set(Spec{Key: key(i), Value: []byte("value")})
			}
			versions, bytes := int64(0), int64(0)
			for i := range Shards {
				sh := table.Shard(i)
				sh.Lock()
				n, size := sh.Kept()
				sh.Unlock()
				versions, bytes = versions+n, bytes+size
			}
			require.Zero(t, versions)
			require.Zero(t, bytes)
		}
	})
}
