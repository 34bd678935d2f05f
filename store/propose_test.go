package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"kv/store/table"
)

// fakeReplica is a Replica in memory that does with its records what a test says.
type fakeReplica struct {
	mu      sync.Mutex
	store   *Store
	last    uint64
	applied uint64
	pending []record // appended and not applied
	log     []record // applied
	epoch   uint64
	auto    bool         // Wait applies what it waits for
	begun   atomic.Int64 // calls of Begin
	confirm func() error
	full    bool // Append refuses
	// admitting, if not nil, is called by Admit, first.
	admitting func()
}

func newFakeReplica() *fakeReplica {
	return &fakeReplica{last: fakeStart, applied: fakeStart, epoch: 1, auto: true}
}

func (r *fakeReplica) Expect() int64 { return 0 }
func (r *fakeReplica) Admit(int64) error {
	if r.admitting != nil {
		r.admitting()
	}
	if r.Epoch()%2 == 0 {
		return &MovedError{Leader: "another"}
	}
	return nil
}
func (r *fakeReplica) Replay(_, _ func([]*Entry)) (uint64, error) {
	return 0, nil
}

func (r *fakeReplica) Append(floor uint64, entries []*Entry) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch%2 == 0 {
		return 0, &MovedError{}
	}
	if r.full {
		return 0, errRefused
	}
	r.last = max(r.last, floor) + 1
	raw := record{r.last, entries}
	r.pending = append(r.pending, record{r.last, raw.copies()}) // as the log has them
	return r.last, nil
}

func (r *fakeReplica) Durable() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.applied
}

func (r *fakeReplica) Wait(version uint64) error {
	for r.Durable() < version {
		if !r.auto || !r.commit() {
			return ErrUnknown
		}
	}
	return nil
}

func (r *fakeReplica) Begin(ReadMode) error { r.begun.Add(1); return nil }

func (r *fakeReplica) Confirm() error {
	if r.confirm != nil {
		return r.confirm()
	}
	return nil
}

func (r *fakeReplica) Outcome(epoch, _, _ uint64) error {
	if epoch != r.Epoch() {
		return ErrUnknown
	}
	return nil
}

func (r *fakeReplica) Epoch() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch
}

// commit applies the oldest record that is pending.
func (r *fakeReplica) commit() bool {
	r.mu.Lock()
	if len(r.pending) == 0 {
		r.mu.Unlock()
		return false
	}
	x := r.pending[0]
	r.pending = r.pending[1:]
	r.log = append(r.log, x)
	r.mu.Unlock()
	if err := r.store.Apply(x.version, x.copies()); err != nil {
		panic(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applied = x.version
	return true
}

// depose ends the epoch. Of what is pending survive records commit after all.
func (r *fakeReplica) depose(survive int) {
	r.mu.Lock()
	r.epoch++
	lost := r.pending
	r.pending = nil
	r.mu.Unlock()
	r.store.Abandon()
	r.mu.Lock()
	r.pending = lost[:survive]
	r.mu.Unlock()
	for r.commit() {
	}
}

func (r *fakeReplica) lead() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch++
}

func openReplica(t fatal, o Options, mask uint64) (opened, *fakeReplica) {
	r := newFakeReplica()
	o.Journal, o.Proposes = r, true
	s := openTest(t, o, mask)
	r.store = s.Store
	return s, r
}

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

type proposing struct {
	opened
	r         *fakeReplica
	keep      int
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

func runProposes(t *rapid.T, mask uint64) {
	keep := rapid.SampledFrom([]int{0, 2}).Draw(t, "history")
	s, r := openReplica(t, Options{History: keep}, mask)
	p := &proposing{opened: s, r: r, keep: keep, committed: state{keys: map[string]valueAt{}}}
	key := rapid.SampledFrom([]string{"", "a", "b", "c", "d"})
	value := rapid.Custom(func(t *rapid.T) string {
		if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
			return long
		}
		return fmt.Sprint(rapid.IntRange(0, 50).Draw(t, "value"))
	})
	leads := func() bool { return r.epoch%2 == 1 }
	// ended checks a write's end: one record more, with what is to be left.
	ended := func(before int, err error, want map[string]string) {
		p.wrote = true
		require.NoError(t, err)
		require.Len(t, p.r.pending, before+1)
		got := map[string]string{}
		for _, e := range p.r.pending[before].entries {
			got[string(e.Key())] = text(e)
		}
		require.Equal(t, want, got)
	}
	actions := map[string]func(*rapid.T){
		"": func(t *rapid.T) {
			// Readers see what was committed, whatever was proposed.
			p.catch()
			for _, k := range []string{"", "a", "b", "c", "d"} {
				want, ok := p.committed.live(k)
				e := p.Get([]byte(k))
				require.Equal(t, ok, e != nil, "key %q", k)
				if ok {
					require.Equal(t, want, valueAt{e.Version(), string(e.Value()), e.Expiry()})
				}
			}
		},
		"Set": func(t *rapid.T) {
			k, v, before := key.Draw(t, "key"), value.Draw(t, "value"), len(r.pending)
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
			ended(before, err, map[string]string{k: v})
			if err == nil {
				require.Equal(t, r.last, version)
			}
		},
		"MSet": func(t *rapid.T) {
			pairs, want, before := []Pair{}, map[string]string{}, len(r.pending)
			for range rapid.IntRange(1, 3).Draw(t, "pairs") {
				k, v := key.Draw(t, "key"), value.Draw(t, "value")
				pairs, want[k] = append(pairs, Pair{[]byte(k), []byte(v)}), v
			}
			_, err := p.MSet(pairs)
			ended(before, err, want)
		},
		"Del": func(t *rapid.T) {
			keys, before := rapid.SliceOfN(key, 1, 3).Draw(t, "keys"), len(r.pending)
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
				require.Len(t, r.pending, before)
				return
			}
			ended(before, err, want)
			if err == nil {
				require.Equal(t, len(want), n)
			}
		},
		"Update": func(t *rapid.T) {
			k, before := key.Draw(t, "key"), len(r.pending)
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
			ended(before, err, map[string]string{k: fmt.Sprint(n + 1)})
		},
		"Txn": func(t *rapid.T) {
			a, b, v, before := key.Draw(t, "a"), key.Draw(t, "b"), value.Draw(t, "value"), len(r.pending)
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
				require.Len(t, r.pending, before+1)
				require.Empty(t, r.pending[before].entries)
				p.wrote = true
			} else {
				ended(before, err, want)
			}
			if err == nil {
				require.Equal(t, ok, results[0].Entry != nil)
				if ok {
					require.Equal(t, was.value, text(results[0].Entry))
				}
				require.Equal(t, v, text(results[2].Entry))
				require.Equal(t, there, results[3].Existed)
			}
		},
		"Rollback": func(t *rapid.T) {
			k := key.Draw(t, "key")
			versions := []uint64{1}
			for _, x := range append(slices.Clone(r.log), r.pending...) {
				for _, e := range x.entries {
					if string(e.Key()) == k {
						versions = append(versions, x.version)
					}
				}
			}
			version := rapid.SampledFrom(versions).Draw(t, "version")
			p.wrote = true
			v, err := p.Rollback([]byte(k), version)
			all := append(slices.Clone(r.log), r.pending...)
			// What is found is what is kept where the rollback is in the log.
			before, _ := openReplica(t, Options{History: keep}, mask)
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
		},
		"Purge": func(t *rapid.T) {
			k := key.Draw(t, "key")
			p.wrote = true
			_, _, err := p.Purge(keysOf(k))
			require.NoError(t, err)
			require.Empty(t, r.pending, "it waits")
			require.LessOrEqual(t, len(p.History(nil, []byte(k), 0)), 1)
		},
		"Commit": func(t *rapid.T) {
			for range rapid.IntRange(1, 5).Draw(t, "records") {
				r.commit()
			}
		},
		"Depose": func(t *rapid.T) {
			if leads() {
				r.depose(rapid.IntRange(0, len(r.pending)).Draw(t, "survive"))
				p.lost = p.lost || p.wrote
				for i := range p.shards {
					require.Empty(t, p.shards[i].ahead)
				}
			}
		},
		"Lead": func(t *rapid.T) {
			if !leads() {
				r.lead()
				p.lost = p.lost || p.wrote
			}
		},
		"Time": func(t *rapid.T) { p.clock.pass(int64(rapid.IntRange(1, 150).Draw(t, "millis"))) },
		"Sweep": func(t *rapid.T) {
			p.catch()
			before, was := len(r.pending), p.committed
			p.sweep()
			if !leads() {
				require.Len(t, r.pending, before)
				return
			}
			for _, x := range r.pending[before:] {
				e := x.entries[0]
				if _, isTime := e.Time(); isTime {
					continue
				}
				_, ok := was.live(string(e.Key()))
				require.True(t, e.Deleted())
				require.False(t, ok, "what has not expired where it is committed is not removed")
			}
		},
		"Evict": func(t *rapid.T) {
			if keep > 0 && leads() {
				p.proposeForget()
			}
		},
		"Flush": func(t *rapid.T) {
			given := p.Session.wrote
			err := p.Flush()
			switch {
			case !p.lost:
				require.NoError(t, err)
			case given || leads():
				require.ErrorIs(t, err, ErrUnknown)
			default:
				require.ErrorAs(t, err, new(*MovedError), "nothing was written")
			}
			p.wrote, p.lost = false, false
		},
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
			if leads() {
				act(t)
				return
			}
			require.ErrorAs(t, write(), new(*MovedError)) // which rests on nothing, so Flush has nothing to say of it
			require.Empty(t, r.pending)
		}
	}
	t.Repeat(actions)
	for r.commit() {
	}
	p.catch()
	for i := range p.shards {
		require.Empty(t, p.shards[i].ahead)
	}
	// A replica that only followed is the same.
	other, _ := openReplica(t, Options{History: keep}, mask)
	for _, x := range r.log {
		require.NoError(t, other.Apply(x.version, x.copies()))
	}
	require.Equal(t, dumpOf(t, p.Store), dumpOf(t, other.Store))
}

// A version that is published is a session's write only within one epoch: another's write may have a higher one.
func TestVersionOfAnotherLeader(t *testing.T) {
	s, r := openReplica(t, Options{}, fullHash)
	key := []byte("k")
	s.put(t, "k", "mine")
	r.depose(0)
	other := NewEntry(r.last+10, key, []byte("theirs"), 0, false)
	r.mu.Lock()
	r.last += 10
	r.pending = []record{{r.last, []*Entry{other}}}
	r.mu.Unlock()
	require.True(t, r.commit())
	require.Greater(t, r.Durable(), uint64(0))
	require.ErrorIs(t, s.Flush(), ErrUnknown)
	require.ErrorIs(t, ErrUnknown, ErrReadOnly)
	require.Equal(t, "theirs", text(s.Get(key)))
	require.NoError(t, s.Flush(), "what is read is committed")
}

// That a key has expired is told only once the time by which it has is committed.
func TestExpiryIsToldOnceItIsCommitted(t *testing.T) {
	key := []byte("k")
	for name, answer := range map[string]func(s opened) error{
		"a conflict": func(s opened) error {
			_, err := s.Set(key, nil, SetOptions{Conditional: true, IfVersion: 7})
			return err
		},
		"a deletion of nothing": func(s opened) error {
			n, _, err := s.Del(keysOf("k"))
			require.Zero(t, n)
			return err
		},
		"a conflict of a transaction": func(s opened) error {
			_, _, err := s.Txn(nil, []Condition{{Key: key, Version: 7}}, []Op{{Kind: OpGet, Key: key}})
			return err
		},
		"a transaction that only reads": func(s opened) error {
			results, _, err := s.Txn(nil, nil, []Op{{Kind: OpGet, Key: key}})
			require.Nil(t, results[0].Entry)
			return err
		},
		"an update that refuses": func(s opened) error {
			_, err := s.Update(keysOf("k"), func(u *Update) error {
				require.False(t, u.Get(key).Exists())
				return &ConflictError{}
			})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := openReplica(t, Options{}, fullHash)
			_, err := s.Set(key, []byte("value"), SetOptions{TTL: 100})
			require.NoError(t, err)
			require.NoError(t, s.Flush())
			s.clock.pass(100)
			s.sweep()
			require.NotEmpty(t, r.pending, "the time")
			if err := answer(s); err != nil {
				var conflict *ConflictError
				require.ErrorAs(t, err, &conflict)
				require.Zero(t, conflict.Version)
			}
			require.NoError(t, s.Flush())
			require.Empty(t, r.pending)
		})
	}
}

// An answer that shows what a write saw, and nothing that it wrote, leaves only once that is committed and confirmed:
// of a replica that was deposed it may be wrong.
func TestAnswersWithoutWritesAreConfirmed(t *testing.T) {
	key := []byte("k")
	answers := map[string]func(s opened){
		"a conflict": func(s opened) {
			_, err := s.Set(key, nil, SetOptions{Conditional: true})
			require.ErrorAs(t, err, new(*ConflictError))
		},
		"a deletion of nothing": func(s opened) {
			n, _, err := s.Del(keysOf("none"))
			require.NoError(t, err)
			require.Zero(t, n)
		},
		"a deletion of two": func(s opened) {
			_, _, err := s.Del(keysOf("none", "nor this"))
			require.NoError(t, err)
		},
		"a transaction that only reads": func(s opened) {
			_, _, err := s.Txn(nil, nil, []Op{{Kind: OpGet, Key: key}})
			require.NoError(t, err)
		},
		"an update that refuses": func(s opened) {
			_, err := s.Update(keysOf("k"), func(u *Update) error { return errors.New(string(u.Get(key).Value())) })
			require.ErrorContains(t, err, "value")
		},
		"a rollback that finds nothing": func(s opened) {
			_, err := s.Rollback(key, 1)
			require.ErrorIs(t, err, ErrNoVersion)
		},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			s, r := openReplica(t, Options{}, fullHash)
			other := s.Store.Session()
			defer other.Close()
			_, err := other.Set(key, []byte("value"), SetOptions{}) // proposed: what the answer tells of
			require.NoError(t, err)
			confirmed := 0
			r.confirm = func() error { confirmed++; return nil }
			answer(s)
			require.Zero(t, confirmed)
			require.NoError(t, s.Flush())
			require.Equal(t, 1, confirmed)
			if name != "a deletion of nothing" && name != "a deletion of two" && name != "a rollback that finds nothing" {
				require.Empty(t, r.pending, "it has waited for what it saw")
			}
			answer(s)
			r.confirm = func() error { return ErrUnknown }
			require.ErrorIs(t, s.Flush(), ErrUnknown)
			answer(s)
			r.confirm = func() error { r.depose(0); return nil }
			require.ErrorAs(t, s.Flush(), new(*MovedError), "it was deposed meanwhile, and has written nothing")
			require.NoError(t, s.Flush())
		})
	}
}

// Reads begin when the replica says so, and see what their own session has written.
func TestBegin(t *testing.T) {
	s, r := openReplica(t, Options{}, fullHash)
	s.put(t, "k", "1")
	require.Nil(t, s.Get([]byte("k")), "proposed, not committed")
	require.NoError(t, s.Begin(ReadMode{}))
	require.EqualValues(t, 1, r.begun.Load())
	require.Equal(t, "1", text(s.Get([]byte("k"))))
	s.put(t, "k", "2")
	r.depose(0)
	require.NoError(t, s.Begin(ReadMode{Bound: time.Second}))
	require.Equal(t, "1", text(s.Get([]byte("k"))), "what is lost is not shown")
	require.ErrorIs(t, s.Flush(), ErrUnknown)

	alone := openTest(t, Options{}, fullHash)
	require.NoError(t, alone.Begin(ReadMode{}))
	_, err := Open(Options{Proposes: true})
	require.ErrorContains(t, err, "needs a journal that is a replica")
}

// A key is there until the journal says that its time has come, for readers when that is committed, for writes when it
// is proposed; the clock of a replica that follows does not matter.
func TestTimeIsInTheLog(t *testing.T) {
	s, r := openReplica(t, Options{}, fullHash)
	other, _ := openReplica(t, Options{}, fullHash)
	key := []byte("k")
	_, err := s.Set(key, []byte("v"), SetOptions{TTL: 100})
	require.NoError(t, err)
	follow := func() {
		for _, x := range r.log[len(r.log)-1:] {
			require.NoError(t, other.Apply(x.version, x.copies()))
		}
	}
	require.True(t, r.commit())
	follow()
	other.clock.pass(1_000_000)
	other.sweep()
	require.NotNil(t, other.Get(key), "its own clock says nothing")
	s.clock.pass(99)
	s.sweep()
	s.clock.pass(1)
	require.NotNil(t, s.Get(key))
	conflicts := func() bool {
		_, err := s.Set(key, nil, SetOptions{Conditional: true})
		return errors.As(err, new(*ConflictError))
	}
	require.True(t, conflicts(), "it is there until the log says otherwise")
	s.sweep()
	now, is := r.pending[len(r.pending)-1].entries[0].Time()
	require.True(t, is)
	require.EqualValues(t, fakeStart/1000+100, now)
	require.NotNil(t, s.Get(key), "the time is proposed")
	_, err = s.Update([][]byte{key}, func(u *Update) error {
		require.False(t, u.Get(key).Exists(), "for what is proposed behind it the key is absent")
		return errRefused
	})
	require.ErrorIs(t, err, errRefused)
	for len(r.pending) > 0 {
		require.True(t, r.commit())
		follow()
	}
	require.Nil(t, s.Get(key))
	require.Nil(t, other.Get(key))
	require.EqualValues(t, 1, s.Store.Stats().Keys)
	s.sweep()
	require.True(t, r.commit())
	follow()
	require.Zero(t, s.Store.Stats().Keys, "the leader has removed it")
	require.Zero(t, other.Store.Stats().Keys, "everywhere")
	require.Equal(t, s.Store.Time(), other.Store.Time())

	// A clock that is set back lets time stand still.
	s.clock.wall.Add(-60_000_000)
	_, err = s.Set(key, []byte("v"), SetOptions{TTL: 5})
	require.NoError(t, err)
	require.True(t, r.commit())
	require.Equal(t, s.Store.Time()+5, s.Get(key).Expiry())
}

// Memory that is short is made room for by a proposal, everywhere alike; and what is proposed counts.
func TestProposalsCountAndHistoryGoes(t *testing.T) {
	s, r := openReplica(t, Options{History: 50, MaxMemory: 1 << 20}, fullHash)
	value := make([]byte, 1000)
	for i := range 5000 {
		_, err := s.Set([]byte(fmt.Sprint(i%20)), value, SetOptions{})
		require.NoError(t, err, "write %d", i)
		if i%10 == 0 {
			require.NoError(t, s.Flush())
		}
	}
	require.NoError(t, s.Flush())
	require.NotZero(t, s.Stats().Evicted)
	other, _ := openReplica(t, Options{History: 50, MaxMemory: 1 << 20}, fullHash)
	for _, x := range r.log {
		require.NoError(t, other.Apply(x.version, x.copies()))
	}
	require.Equal(t, walkedAll(t, s.Store), walkedAll(t, other.Store))

	r.auto = false
	before := s.budget.used.Load()
	for i := 0; ; i++ {
		if _, err := s.Set(fmt.Append(nil, "new", i), value, SetOptions{}); err != nil {
			require.ErrorIs(t, err, ErrOutOfMemory)
			break
		}
		require.Less(t, i, 2000, "proposals are not counted")
	}
	r.depose(0)
	require.InDelta(t, before, s.budget.used.Load(), 64<<10)
}

// What may write is for the leader, even if it would turn out to write nothing: what another replica has may be old.
// Behind Begin it is a read like any other.
func TestWritesThatWriteNothingElsewhere(t *testing.T) {
	s, r := openReplica(t, Options{}, fullHash)
	s.put(t, "k", "v")
	require.NoError(t, s.Flush())
	r.depose(0)
	key := []byte("k")
	looks := map[string]func() error{
		"Update": func() error {
			_, err := s.Update([][]byte{key}, func(u *Update) error { u.Get(key); return nil })
			return err
		},
		"Txn":             func() error { _, _, err := s.Txn(nil, nil, []Op{{Kind: OpGet, Key: key}}); return err },
		"a condition":     func() error { _, _, err := s.Txn(nil, []Condition{{Key: key, Version: 1}}, nil); return err },
		"Set, that fails": func() error { _, err := s.Set(key, nil, SetOptions{Conditional: true}); return err },
		"Del, of nothing": func() error { _, _, err := s.Del(keysOf("none")); return err },
		"Del, of two":     func() error { _, _, err := s.Del(keysOf("none", "other")); return err },
		"Rollback":        func() error { _, err := s.Rollback(key, 1); return err },
		"a prefix":        func() error { _, _, _, err := s.PurgePrefix(nil, []byte("none")); return err },
	}
	for name, look := range looks {
		var moved *MovedError
		require.ErrorAs(t, look(), &moved, name)
		require.Equal(t, "another", moved.Leader)
		require.NoError(t, s.Flush(), name)
	}
	for name, nothing := range map[string]func() (uint64, error){ // was asked: that is answered anywhere
		"Del":   func() (uint64, error) { _, version, err := s.Del(nil); return version, err },
		"MSet":  func() (uint64, error) { return s.MSet(nil) },
		"Purge": func() (uint64, error) { _, version, err := s.Purge(nil); return version, err },
	} {
		version, err := nothing()
		require.NoError(t, err, name)
		require.Zero(t, version, name)
	}
	require.NoError(t, s.Begin(ReadMode{}))
	require.NoError(t, looks["Update"]())
	require.NoError(t, looks["Txn"]())
	require.ErrorAs(t, looks["a condition"](), new(*ConflictError))
	require.NoError(t, s.Flush())
}

// A session that goes to another user owes him nothing, and lets him owe nothing.
func TestReset(t *testing.T) {
	s, r := openReplica(t, Options{}, fullHash)
	require.NoError(t, s.Begin(ReadMode{}))
	s.put(t, "k", "v")
	r.depose(0)
	s.Session.Reset()
	require.NoError(t, s.Flush())
	_, err := s.Update(keysOf("k"), func(*Update) error { return nil })
	require.ErrorAs(t, err, new(*MovedError), "Begin was for another")
	require.EqualValues(t, 1, s.Stats().SetOps, "what was done is counted")
}

// A node begins to lead between what a session notes before a write and the write itself: the write is one of that
// epoch, not of none.
func TestAWriteWhileANodeBeginsToLead(t *testing.T) {
	s, r := openReplica(t, Options{}, fullHash)
	r.auto = true
	r.depose(0)
	r.admitting = func() { r.admitting = nil; r.lead() }
	_, err := s.Set([]byte("k"), []byte("1"), SetOptions{})
	require.NoError(t, err)
	require.NoError(t, s.Flush())
	require.Equal(t, "1", text(s.Get([]byte("k"))))

	// And it may lead again: two writes, or what was noted and the write, are not known to be of one epoch then.
	_, err = s.Set([]byte("k"), []byte("2"), SetOptions{})
	require.NoError(t, err)
	r.depose(1)
	r.lead()
	_, err = s.Set([]byte("k"), []byte("3"), SetOptions{})
	require.NoError(t, err)
	require.ErrorIs(t, s.Flush(), ErrUnknown)
	r.admitting = func() { r.admitting = nil; r.depose(0); r.lead() }
	_, err = s.Set([]byte("k"), []byte("4"), SetOptions{})
	require.NoError(t, err)
	require.ErrorIs(t, s.Flush(), ErrUnknown)

	// What a write was refused for is not the newest for sure: it is to be asked again, where nothing was written.
	_, err = s.Set([]byte("k"), nil, SetOptions{Conditional: true})
	require.ErrorAs(t, err, new(*ConflictError))
	r.depose(0)
	require.ErrorAs(t, s.Flush(), new(*MovedError))
}

// A rollback finds what is kept where it is in the journal: not what the writes before it, that are under way, push out
// of the history or erase.
func TestARollbackBehindWhatIsUnderWay(t *testing.T) {
	for keep := range 4 {
		for under := range 5 {
			s, r := openReplica(t, Options{History: keep}, fullHash)
			key := []byte("k")
			first, err := s.Set(key, []byte("1"), SetOptions{})
			require.NoError(t, err)
			require.NoError(t, s.Flush())
			var last uint64
			for i := range under {
				last, err = s.Set(key, fmt.Append(nil, "under way ", i), SetOptions{})
				require.NoError(t, err)
			}
			require.Len(t, r.pending, under)
			_, err = s.Rollback(key, first)
			if under <= keep {
				require.NoError(t, err, "%d of %d", under, keep)
			} else {
				require.ErrorIs(t, err, ErrNoVersion, "%d of %d", under, keep)
				_, err = s.Rollback(key, last)
				require.NoError(t, err, "the newest is there")
			}
			require.NoError(t, s.Flush())
			require.NoError(t, s.Flush())
		}
	}
	none, _ := openReplica(t, Options{}, fullHash)
	none.put(t, "k", "1")
	_, gone, err := none.Del(keysOf("k"))
	require.NoError(t, err)
	_, err = none.Rollback([]byte("k"), gone)
	require.ErrorIs(t, err, ErrNoHistory, "nothing is left of a deletion that is under way")
	s, r := openReplica(t, Options{History: 3}, fullHash)
	r.auto = false
	key := []byte("k")
	first, err := s.Set(key, []byte("1"), SetOptions{})
	require.NoError(t, err)
	s.put(t, "k", "2")
	for r.commit() {
	}
	_, _, err = s.Purge(keysOf("k"))
	require.ErrorIs(t, err, ErrUnknown, "it is under way")
	require.Len(t, r.pending, 1)
	r.auto = true
	_, err = s.Rollback(key, first)
	require.ErrorIs(t, err, ErrNoVersion)
	require.Empty(t, r.pending)
}

// However long a sweep takes, keys expire in time: such as it has not come to, and such as it has taken and not noted again.
func TestKeysExpireDuringASweep(t *testing.T) {
	r := newFakeReplica()
	s, err := Open(Options{Journal: r, Proposes: true})
	require.NoError(t, err)
	defer s.Close()
	r.store = s
	c := s.Session()
	defer c.Close()
	s.sweeping.Lock() // as a sweep does that has begun
	defer s.sweeping.Unlock()
	key := []byte("k")
	for _, taken := range []bool{false, true} {
		_, err := c.Set(key, nil, SetOptions{TTL: 20})
		require.NoError(t, err)
		require.NoError(t, c.Flush())
		if taken {
			later := moment{state: &clockState{lead: time.Now().Add(time.Hour).UnixMicro()}}
			require.NotEmpty(t, s.takeDue(nil, s.shardOf(s.hash(key)), later))
		}
		require.Eventually(t, func() bool {
			for r.commit() {
			}
			return c.Get(key) == nil
		}, 10*time.Second, time.Millisecond)
	}
}
