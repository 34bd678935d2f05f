package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

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
	s.sweeper.mu.Lock() // as a sweep does that has begun
	defer s.sweeper.mu.Unlock()
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
