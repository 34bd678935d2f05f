package store

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// With a journal that promises durability, no answer shows what a crash could undo: Flush waits for what was written and
// for what was read, absent keys of a bucket that has changed too.
func TestFlushWaitsForWhatWasSeen(t *testing.T) {
	key := []byte("key")
	tests := []struct {
		name string
		do   func(opened)
	}{
		{"Set", func(s opened) { s.Set(key, nil, SetOptions{}) }},
		{"MSet", func(s opened) { s.MSet(pairsOf("a", "", "b", "")) }},
		{"Del", func(s opened) { s.Del([][]byte{key}) }},
		{"Del of two", func(s opened) { s.Del(keysOf("key", "none")) }},
		{"Txn", func(s opened) { s.Txn(nil, nil, []Op{{Kind: OpDel, Key: key}}) }},
		{"Get", func(s opened) { s.Get(key) }},
		{"Get of a deleted key", func(s opened) { s.Get([]byte("deleted")) }},
		{"Get of an expiring key", func(s opened) { s.Get([]byte("expiring")) }},
		{"MGet", func(s opened) { s.MGet(nil, keysOf("none", "key")) }},
		{"MGet of a deleted key", func(s opened) { s.MGet(nil, keysOf("deleted")) }},
		{"a Txn that only reads", func(s opened) { s.Txn(nil, nil, []Op{{Kind: OpGet, Key: key}}) }},
		{"a Txn that only compares", func(s opened) { s.Txn(nil, []Condition{{Key: []byte("deleted")}}, nil) }},
		{"a Txn that conflicts", func(s opened) { s.Txn(nil, []Condition{{Key: key, Version: 1}}, nil) }},
		{"a Set that conflicts", func(s opened) { s.Set(key, nil, SetOptions{Conditional: true, IfVersion: 1}) }},
		{"a Del of a deleted key", func(s opened) { s.Del(keysOf("deleted")) }},
		{"a Del of deleted keys", func(s opened) { s.Del(keysOf("deleted", "deleted")) }},
		{"an Update that writes", func(s opened) {
			s.Update([][]byte{key}, func(u *Update) error { u.Set(key, nil, 0); return nil })
		}},
		{"an Update that only reads", func(s opened) { s.Update([][]byte{key}, func(u *Update) error { u.Get(key); return nil }) }},
		{"an Update that gives up", func(s opened) { s.Update([][]byte{key}, func(u *Update) error { u.Get(key); return errRefused }) }},
		{"an Update that finds nothing to delete", func(s opened) {
			s.Update(keysOf("deleted"), func(u *Update) error { u.Delete([]byte("deleted")); return nil })
		}},
		{"Scan", func(s opened) { s.Scan(nil, ScanOptions{}) }},
		{"History", func(s opened) { s.History(nil, key, 0) }},
		{"GetVersion", func(s opened) { s.GetVersion(key, 1) }},
		{"Rollback", func(s opened) { s.Rollback([]byte("deleted"), s.History(nil, []byte("deleted"), 0)[0].Entry.Version()) }},
		{"a Rollback that finds nothing", func(s opened) { s.Rollback(key, 1) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := newFakeJournal()
			j.lazy = true
			s := openTest(t, Options{Journal: j, History: 2}, fullHash)
			other := s.Store.Session()
			defer other.Close()
			for _, k := range []string{"key", "deleted", "expiring"} {
				_, err := other.Set([]byte(k), nil, SetOptions{TTL: uint64(len(k)) / 8 * 1000})
				require.NoError(t, err)
			}
			j.sync()
			require.NoError(t, s.Flush())
			_, err := other.MSet(pairsOf("key", "2", "expiring", "2"))
			require.NoError(t, err)
			_, _, err = other.Del(keysOf("deleted"))
			require.NoError(t, err)

			test.do(s)
			flushed := make(chan error)
			go func() { flushed <- s.Flush() }()
			waits := make(chan struct{})
			go func() {
				j.awaitWaiter()
				close(waits)
			}()
			select {
			case <-flushed:
				t.Fatal("Flush did not wait")
			case <-waits:
			}
			j.sync()
			require.NoError(t, <-flushed)
			require.NoError(t, s.Flush(), "nothing more to wait for")
		})
	}
}

func TestFlushDoesNotWaitForOthers(t *testing.T) {
	j := newFakeJournal()
	j.lazy = true
	s := openTest(t, Options{Journal: j}, fullHash)
	s.put(t, "key", "")
	other := s.Store.Session()
	defer other.Close()
	require.NoError(t, other.Flush())
	for i := 0; ; i++ { // a key elsewhere
		k := []byte{byte(i)}
		if s.Get(k) == nil {
			require.Nil(t, other.Get(k))
			break
		}
	}
	require.NoError(t, other.Flush())
	j.sync()
}

// A journal that refuses a write leaves no trace of it.
func TestRefusedByTheJournal(t *testing.T) {
	tests := []struct {
		name  string
		write func(opened) error
	}{
		{"Set", func(s opened) error { _, err := s.Set([]byte("a"), []byte("new"), SetOptions{TTL: 1}); return err }},
		{"Set of a new key", func(s opened) error { _, err := s.Set([]byte("new"), nil, SetOptions{}); return err }},
		{"MSet", func(s opened) error { _, err := s.MSet(pairsOf("a", "new", "b", "new", "new", "")); return err }},
		{"Del", func(s opened) error { _, _, err := s.Del(keysOf("a")); return err }},
		{"Del of two", func(s opened) error { _, _, err := s.Del(keysOf("a", "b")); return err }},
		{"Rollback", func(s opened) error {
			_, err := s.Rollback([]byte("a"), s.History(nil, []byte("a"), 0)[1].Entry.Version())
			return err
		}},
		{"Txn", func(s opened) error {
			results, _, err := s.Txn(nil, nil, []Op{
				{Kind: OpGet, Key: []byte("a")},
				{Kind: OpSet, Key: []byte("a")},
				{Kind: OpDel, Key: []byte("a")},
				{Kind: OpDel, Key: []byte("b")},
			})
			if err != nil && len(results) != 0 {
				t.Error("results of what did not happen")
			}
			return err
		}},
	}
	for _, m := range masks {
		for _, test := range tests {
			t.Run(m.name+"/"+test.name, func(t *testing.T) {
				j := newFakeJournal()
				s := openTest(t, Options{Journal: j, History: 2}, m.mask)
				s.put(t, "a", "0")
				s.put(t, "a", "1")
				s.put(t, "b", "1")
				before := s.Stats()
				was := s.MGet(nil, keysOf("a", "b", "new"))
				before.GetOps += 3
				before.Misses++
				records := len(j.records)

				j.refuseWith(errRefused)
				require.ErrorIs(t, test.write(s), ErrReadOnly)
				require.Equal(t, before, s.Stats())
				require.Equal(t, was, s.MGet(nil, keysOf("a", "b", "new")))
				require.Len(t, j.records, records)
				require.NoError(t, s.Check())

				j.refuseWith(nil)
				require.NoError(t, test.write(s))
				require.Len(t, j.records, records+1)
			})
		}
	}
}

// What is logged is what a write leaves of each key, once.
func TestEffectsAreLogged(t *testing.T) {
	j := newFakeJournal()
	s := openTest(t, Options{Journal: j}, fullHash)
	logged := func() (all []string) {
		for _, e := range j.records[len(j.records)-1].entries {
			all = append(all, string(e.Key())+"="+text(e))
		}
		return all
	}
	_, err := s.MSet(pairsOf("a", "1", "b", "2", "a", "3"))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a=3", "b=2"}, logged())
	_, _, err = s.Del(keysOf("a", "none", "a"))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a=-"}, logged())
	_, _, err = s.Txn(nil, nil, []Op{
		{Kind: OpSet, Key: []byte("b"), Value: []byte("4"), TTL: 7},
		{Kind: OpSet, Key: []byte("c"), Value: []byte("5")},
		{Kind: OpDel, Key: []byte("c")},
		{Kind: OpDel, Key: []byte("none")},
		{Kind: OpSet, Key: []byte("c"), Value: []byte("6")},
	})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"b=4", "c=6"}, logged())

	n := len(j.records)
	_, _, err = s.Del(keysOf("none"))
	require.NoError(t, err)
	_, err = s.Set([]byte("b"), nil, SetOptions{Conditional: true})
	require.Error(t, err)
	require.Len(t, j.records, n, "what changes nothing is not logged")

	s.clock.pass(7)
	s.sweep()
	require.Equal(t, []string{"b=-"}, logged())
}

// A store that is filled from a journal may hold more than the limit; it must start all the same.
func TestReplayIgnoresTheLimit(t *testing.T) {
	j := newFakeJournal()
	s := openTest(t, Options{Journal: j}, fullHash)
	for i := range 1000 {
		s.put(t, string(rune('a'+i)), "value")
	}
	again := openTest(t, Options{Journal: j, MaxMemory: 1000}, fullHash)
	require.EqualValues(t, 1000, again.Stats().Keys)
	_, err := again.Set([]byte("a"), make([]byte, 200_000), SetOptions{})
	require.ErrorIs(t, err, ErrOutOfMemory)
	again.del(t, "a")
}

type brokenJournal struct{ *fakeJournal }

func (brokenJournal) Replay(_, _ func([]*Entry)) (uint64, error) { return 0, errRefused }

func TestReplayFails(t *testing.T) {
	_, err := Open(Options{Journal: brokenJournal{newFakeJournal()}})
	require.ErrorIs(t, err, errRefused)
}

// crowded is a journal that has no place for what is large.
type crowded struct{ *fakeJournal }

func (crowded) Admit(size int64) error {
	if size > 4000 {
		return errRefused
	}
	return nil
}

// What waits for the journal, or is refused by it, has taken no memory yet: its values are not even copied.
func TestRefusedBeforeMemoryIsTaken(t *testing.T) {
	s := openTest(t, Options{Journal: crowded{newFakeJournal()}}, fullHash)
	key, value := []byte("k"), make([]byte, 1<<20)
	writes := map[string]func() error{
		"Set":  func() error { _, err := s.Set(key, value, SetOptions{}); return err },
		"MSet": func() error { _, err := s.MSet([]Pair{{key, nil}, {key, value}}); return err },
		"Txn": func() error {
			_, _, err := s.Txn(nil, nil, []Op{{Kind: OpSet, Key: key, Value: value}})
			return err
		},
	}
	for name, write := range writes {
		require.ErrorIs(t, write(), errRefused, name)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 10 {
			require.Error(t, write())
		}
		runtime.ReadMemStats(&after)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(len(value)), "%s: ten copies were made", name)
	}
}
