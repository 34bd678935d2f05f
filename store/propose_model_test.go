package store

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"kv/store/table"
)

// TestProposes runs random writes on a store that proposes, and holds them against a plain map of what was committed
// and one of what was proposed as well: reads against the one, conditions against the other. The journal commits when
// it likes, and leadership is lost at any time, with some of what was proposed.
func TestProposes(t *testing.T) {
	for _, m := range masks {
		t.Run(m.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { runProposes(t, m.mask) })
		})
	}
}

var long = strings.Repeat("long ", 1000)

type valueAt struct {
	version uint64
	value   string
	expiry  uint64
}

// state is what a plain map knows.
type state struct {
	keys  map[string]valueAt
	clock uint64 // in milliseconds
}

func (s state) clone() state { return state{maps.Clone(s.keys), s.clock} }

// live returns what is there and has not expired.
func (s state) live(key string) (v valueAt, ok bool) {
	v, ok = s.keys[key]
	return v, ok && (v.expiry == 0 || v.expiry > s.clock)
}

// take gives effect to a record.
func (s *state) take(r record) {
	for _, e := range r.entries {
		key := string(e.Key())
		now, isTime := e.Time()
		_, isForget := e.Forget()
		purge, all := e.Purge()
		switch {
		case isTime:
			s.clock = max(s.clock, now)
		case isForget:
		case purge && all:
			delete(s.keys, key)
		case purge:
		case e.Deleted():
			delete(s.keys, key)
		default:
			s.keys[key] = valueAt{r.version, string(e.Value()), e.Expiry()}
		}
	}
}

// proposing is a store that proposes, and what a test knows of it.
type proposing struct {
	opened
	r         *fakeReplica
	mask      uint64 // of the hash
	keep      int    // how many earlier versions are kept
	committed state
	wrote     bool // since the last Flush
	lost      bool // the epoch has ended since
}

// foreseen is the state after all that is pending.
func (p *proposing) foreseen() state {
	s := p.committed.clone()
	for _, r := range p.r.pending {
		s.take(r)
	}
	return s
}

// catch takes what the replica has applied.
func (p *proposing) catch() {
	p.committed = state{keys: map[string]valueAt{}}
	for _, r := range p.r.log {
		p.committed.take(r)
	}
}

// runProposes runs the actions in any order, and holds a replica that only followed against the end.
func runProposes(t *rapid.T, mask uint64) {
	keep := rapid.SampledFrom([]int{0, 2}).Draw(t, "history")
	s, r := openReplica(t, Options{History: keep}, mask)
	p := &proposing{opened: s, r: r, mask: mask, keep: keep, committed: state{keys: map[string]valueAt{}}}
	actions := map[string]func(*rapid.T){
		"":         p.read,
		"Set":      p.set,
		"MSet":     p.mset,
		"Del":      p.del,
		"Update":   p.update,
		"Txn":      p.txn,
		"Rollback": p.rollback,
		"Purge":    p.purge,
		"Commit":   p.commit,
		"Depose":   p.depose,
		"Lead":     p.lead,
		"Time":     p.time,
		"Sweep":    p.removeExpired,
		"Evict":    p.evict,
		"Flush":    p.flush,
	}
	for name, write := range map[string]func() error{
		"Set":      func() error { _, err := p.Set([]byte("a"), nil, SetOptions{}); return err },
		"MSet":     func() error { _, err := p.MSet(pairsOf("a", "1")); return err },
		"Del":      func() error { _, _, err := p.Del(keysOf("a")); return err },
		"Update":   func() error { _, err := p.Update(keysOf("a"), func(*Update) error { return nil }); return err },
		"Txn":      func() error { _, _, err := p.Txn(nil, nil, []Op{{Kind: OpDel, Key: []byte("a")}}); return err },
		"Rollback": func() error { _, err := p.Rollback([]byte("a"), 1); return err },
		"Purge":    func() error { _, _, err := p.Purge(keysOf("a")); return err },
	} {
		act := actions[name]
		actions[name] = func(t *rapid.T) {
			if p.leads() {
				act(t)
				return
			}
			require.ErrorAs(t, write(), new(*MovedError)) // which rests on nothing, so Flush has nothing to say of it
			require.Empty(t, p.r.pending)
		}
	}
	t.Repeat(actions)
	for p.r.commit() {
	}
	p.catch()
	for i := range p.shards {
		require.Empty(t, p.shards[i].ahead)
	}
	// A replica that only followed is the same.
	other, _ := openReplica(t, Options{History: p.keep}, p.mask)
	for _, x := range p.r.log {
		require.NoError(t, other.Apply(x.version, x.copies()))
	}
	require.Equal(t, dumpOf(t, p.Store), dumpOf(t, other.Store))
}

var (
	aKey   = rapid.SampledFrom([]string{"", "a", "b", "c", "d"})
	aValue = rapid.Custom(func(t *rapid.T) string {
		if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
			return long
		}
		return fmt.Sprint(rapid.IntRange(0, 50).Draw(t, "value"))
	})
)

func (p *proposing) leads() bool { return p.r.epoch%2 == 1 }

// ended checks a write's end: one record more, with what is to be left of each key.
func (p *proposing) ended(t *rapid.T, before int, err error, want map[string]string) {
	p.wrote = true
	require.NoError(t, err)
	require.Len(t, p.r.pending, before+1)
	got := map[string]string{}
	for _, e := range p.r.pending[before].entries {
		got[string(e.Key())] = text(e)
	}
	require.Equal(t, want, got)
}

// read: readers see what was committed, whatever was proposed.
func (p *proposing) read(t *rapid.T) {
	p.catch()
	for _, k := range []string{"", "a", "b", "c", "d"} {
		want, ok := p.committed.live(k)
		e := p.Get([]byte(k))
		require.Equal(t, ok, e != nil, "key %q", k)
		if ok {
			require.Equal(t, want, valueAt{e.Version(), string(e.Value()), e.Expiry()})
		}
	}
}

func (p *proposing) set(t *rapid.T) {
	k, v, before := aKey.Draw(t, "key"), aValue.Draw(t, "value"), len(p.r.pending)
	o := SetOptions{TTL: rapid.SampledFrom([]uint64{0, 0, 5, 100}).Draw(t, "ttl")}
	now, there := p.foreseen().live(k)
	if o.Conditional = rapid.Bool().Draw(t, "conditional"); o.Conditional {
		o.IfVersion = rapid.SampledFrom([]uint64{0, now.version}).Draw(t, "version")
		if !there && o.IfVersion != 0 {
			o.IfVersion = now.version // of one that has expired
		}
	}
	version, err := p.Set([]byte(k), []byte(v), o)
	current := uint64(0)
	if there {
		current = now.version
	}
	if o.Conditional && o.IfVersion != current {
		var conflict *ConflictError
		require.ErrorAs(t, err, &conflict)
		require.Equal(t, current, conflict.Version)
		p.wrote = true
		return
	}
	p.ended(t, before, err, map[string]string{k: v})
	if err == nil {
		require.Equal(t, p.r.last, version)
	}
}

func (p *proposing) mset(t *rapid.T) {
	pairs, want, before := []Pair{}, map[string]string{}, len(p.r.pending)
	for range rapid.IntRange(1, 3).Draw(t, "pairs") {
		k, v := aKey.Draw(t, "key"), aValue.Draw(t, "value")
		pairs, want[k] = append(pairs, Pair{[]byte(k), []byte(v)}), v
	}
	_, err := p.MSet(pairs)
	p.ended(t, before, err, want)
}

func (p *proposing) del(t *rapid.T) {
	keys, before := rapid.SliceOfN(aKey, 1, 3).Draw(t, "keys"), len(p.r.pending)
	will, want := p.foreseen(), map[string]string{}
	for _, k := range keys {
		if _, ok := will.live(k); ok {
			want[k] = "-"
		}
	}
	n, _, err := p.Del(keysOf(keys...))
	if len(want) == 0 {
		p.wrote = true
		require.NoError(t, err)
		require.Zero(t, n)
		require.Len(t, p.r.pending, before)
		return
	}
	p.ended(t, before, err, want)
	if err == nil {
		require.Equal(t, len(want), n)
	}
}

func (p *proposing) update(t *rapid.T) {
	k, before := aKey.Draw(t, "key"), len(p.r.pending)
	now, ok := p.foreseen().live(k)
	var saw string
	_, err := p.Update(keysOf(k), func(u *Update) error {
		saw = "-"
		if e := u.Get([]byte(k)); e.Exists() {
			saw = string(e.Value())
		}
		n, _ := strconv.Atoi(saw)
		u.Set([]byte(k), []byte(fmt.Sprint(n+1)), 0)
		return nil
	})
	want := "-"
	if ok {
		want = now.value
	}
	require.Equal(t, want, saw)
	n, _ := strconv.Atoi(want)
	p.ended(t, before, err, map[string]string{k: fmt.Sprint(n + 1)})
}

func (p *proposing) txn(t *rapid.T) {
	a, b, v, before := aKey.Draw(t, "a"), aKey.Draw(t, "b"), aValue.Draw(t, "value"), len(p.r.pending)
	will := p.foreseen()
	was, ok := will.live(a)
	_, there := will.live(b)
	results, _, err := p.Txn(nil, nil, []Op{
		{Kind: OpGet, Key: []byte(a)}, {Kind: OpSet, Key: []byte(a), Value: []byte(v)}, {Kind: OpGet, Key: []byte(a)}, {Kind: OpDel, Key: []byte(b)},
	})
	want := map[string]string{a: v}
	if a == b {
		delete(want, a)
		if _, stored := will.keys[a]; stored {
			want[a] = "-"
		}
		there = true
	} else if there {
		want[b] = "-"
	}
	if err == nil && len(want) == 0 { // it takes a version and leaves nothing
		require.Len(t, p.r.pending, before+1)
		require.Empty(t, p.r.pending[before].entries)
		p.wrote = true
	} else {
		p.ended(t, before, err, want)
	}
	if err == nil {
		require.Equal(t, ok, results[0].Entry != nil)
		if ok {
			require.Equal(t, was.value, text(results[0].Entry))
		}
		require.Equal(t, v, text(results[2].Entry))
		require.Equal(t, there, results[3].Existed)
	}
}

func (p *proposing) rollback(t *rapid.T) {
	k := aKey.Draw(t, "key")
	versions := []uint64{1}
	for _, x := range append(slices.Clone(p.r.log), p.r.pending...) {
		for _, e := range x.entries {
			if string(e.Key()) == k {
				versions = append(versions, x.version)
			}
		}
	}
	version := rapid.SampledFrom(versions).Draw(t, "version")
	p.wrote = true
	v, err := p.Rollback([]byte(k), version)
	all := append(slices.Clone(p.r.log), p.r.pending...)
	// What is found is what is kept where the rollback is in the log.
	before, _ := openReplica(t, Options{History: p.keep}, p.mask)
	for _, x := range all {
		if v == version || x.version != v {
			require.NoError(t, before.Apply(x.version, x.copies()))
		}
	}
	kept := false
	before.locked([]byte(k), func(sh *shard, place *table.Place) {
		before.eachRevision(sh, place, 0, func(f Found) bool {
			kept = kept || f.Version() == version
			return true
		})
	})
	require.Equal(t, kept, err == nil, err)
	if err != nil || v == version {
		return // not kept, or deleted as it is
	}
	i := slices.IndexFunc(all, func(x record) bool { return x.version == version })
	j := slices.IndexFunc(all, func(x record) bool { return x.version == v })
	require.True(t, i >= 0 && j > i)
	old := all[i].entries[slices.IndexFunc(all[i].entries, func(e *Entry) bool { return string(e.Key()) == k })]
	require.Equal(t, text(old), text(all[j].entries[0]))
}

func (p *proposing) purge(t *rapid.T) {
	k := aKey.Draw(t, "key")
	p.wrote = true
	_, _, err := p.Purge(keysOf(k))
	require.NoError(t, err)
	require.Empty(t, p.r.pending, "it waits")
	require.LessOrEqual(t, len(p.History(nil, []byte(k), 0)), 1)
}

func (p *proposing) commit(t *rapid.T) {
	for range rapid.IntRange(1, 5).Draw(t, "records") {
		p.r.commit()
	}
}

func (p *proposing) depose(t *rapid.T) {
	if p.leads() {
		p.r.depose(rapid.IntRange(0, len(p.r.pending)).Draw(t, "survive"))
		p.lost = p.lost || p.wrote
		for i := range p.shards {
			require.Empty(t, p.shards[i].ahead)
		}
	}
}

func (p *proposing) lead(t *rapid.T) {
	if !p.leads() {
		p.r.lead()
		p.lost = p.lost || p.wrote
	}
}

func (p *proposing) time(t *rapid.T) {
	p.clock.pass(int64(rapid.IntRange(1, 150).Draw(t, "millis")))
}

func (p *proposing) removeExpired(t *rapid.T) {
	p.catch()
	before, was := len(p.r.pending), p.committed
	p.sweep()
	if !p.leads() {
		require.Len(t, p.r.pending, before)
		return
	}
	for _, x := range p.r.pending[before:] {
		e := x.entries[0]
		if _, isTime := e.Time(); isTime {
			continue
		}
		_, ok := was.live(string(e.Key()))
		require.True(t, e.Deleted())
		require.False(t, ok, "what has not expired where it is committed is not removed")
	}
}

func (p *proposing) evict(t *rapid.T) {
	if p.keep > 0 && p.leads() {
		p.proposeForget()
	}
}

func (p *proposing) flush(t *rapid.T) {
	given := p.Session.wrote
	err := p.Flush()
	switch {
	case !p.lost:
		require.NoError(t, err)
	case given || p.leads():
		require.ErrorIs(t, err, ErrUnknown)
	default:
		require.ErrorAs(t, err, new(*MovedError), "nothing was written")
	}
	p.wrote, p.lost = false, false
}
