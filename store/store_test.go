package store

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersionsRise(t *testing.T) {
	for _, keep := range []int{0, 2} {
		s := openTest(t, Options{History: keep}, fullHash)
		last := uint64(fakeStart) // above all that a run before can have given
		rises := func(v uint64) {
			t.Helper()
			require.Greater(t, v, last)
			last = v
		}
		rises(s.put(t, "a", "1"))
		rises(s.put(t, "b", "1"))
		v, err := s.MSet(pairsOf("a", "2", "b", "2"))
		require.NoError(t, err)
		rises(v)
		require.Equal(t, v, s.Get([]byte("a")).Version())
		require.Equal(t, v, s.Get([]byte("b")).Version())
		_, v, err = s.Txn(nil, nil, []Op{{Kind: OpSet, Key: []byte("a")}, {Kind: OpDel, Key: []byte("b")}})
		require.NoError(t, err)
		rises(v)
		rises(s.del(t, "a"))
		rises(s.put(t, "a", "3"))
		s.clock.pass(1000)
		rises(s.put(t, "a", "4"))
		if keep > 0 {
			require.Greater(t, last, uint64(fakeStart+1000_000), "with history a version says when it was made")
		}
	}
}

func TestIfVersion(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	old := s.put(t, "key", "old")
	current := s.put(t, "key", "current")
	_, err := s.Set([]byte("expired"), nil, SetOptions{TTL: 5})
	require.NoError(t, err)
	expired := s.Get([]byte("expired")).Version()
	s.clock.pass(5)
	tests := []struct {
		name, key string
		version   uint64
		conflict  uint64
		ok        bool
	}{
		{"absent as asked", "new", 0, 0, true},
		{"absent, but a version was asked", "none", 7, 0, false},
		{"present, but absent was asked", "key", 0, current, false},
		{"an older version", "key", old, current, false},
		{"a newer version", "key", current + 1, current, false},
		{"expired is not what it was", "expired", expired, 0, false},
		{"expired is absent", "expired", 0, 0, true},
		{"its version", "key", current, 0, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := s.Stats()
			txn := []Condition{{Key: []byte(test.key), Version: test.version}}
			_, _, err := s.Txn(nil, txn, nil)
			require.Equal(t, test.ok, err == nil)
			v, err := s.Set([]byte(test.key), []byte("x"), SetOptions{Conditional: true, IfVersion: test.version})
			if test.ok {
				require.NoError(t, err)
				require.Equal(t, v, s.Get([]byte(test.key)).Version())
				return
			}
			var conflict *ConflictError
			require.ErrorAs(t, err, &conflict)
			require.Equal(t, test.conflict, conflict.Version)
			require.Contains(t, err.Error(), fmt.Sprint(test.conflict))
			require.Equal(t, before, s.Stats(), "a conflict changes and counts nothing")
		})
	}
}

func TestConflictNamesTheCondition(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	v := s.put(t, "b", "1")
	conds := []Condition{{Key: []byte("a"), Version: 0}, {Key: []byte("b"), Version: v + 1}, {Key: []byte("c"), Version: 9}}
	results, version, err := s.Txn(nil, conds, []Op{{Kind: OpSet, Key: []byte("a")}})
	var conflict *ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, ConflictError{Index: 1, Version: v}, *conflict)
	require.Empty(t, results)
	require.Zero(t, version)
	require.Nil(t, s.Get([]byte("a")))
}

// TestTxnRefused: who looks at the results may refuse them, and then nothing has happened.
func TestTxnRefused(t *testing.T) {
	for _, o := range []Options{{}, {History: 2}} {
		s := openTest(t, o, fullHash)
		v := s.put(t, "a", "1")
		before := s.Stats()
		refusal := errors.New("refused")
		ops := []Op{
			{Kind: OpSet, Key: []byte("a"), Value: []byte("22")},
			{Kind: OpGet, Key: []byte("a")},
			{Kind: OpSet, Key: []byte("b"), TTL: 1000},
			{Kind: OpDel, Key: []byte("a")},
		}
		var seen []Result
		accept := func(err error) func([]Result) error {
			return func(results []Result) error {
				seen = slices.Clone(results)
				return err
			}
		}
		given := []Result{{Existed: true}}
		results, version, err := s.TxnIf(given, nil, ops, accept(refusal))
		require.Equal(t, refusal, err)
		require.Equal(t, given, results)
		require.Zero(t, version)
		require.Len(t, seen, len(ops))
		require.Equal(t, "22", string(seen[1].Entry.Value()))
		require.True(t, seen[3].Existed)
		require.Equal(t, before, s.Stats())
		require.NoError(t, s.Check())
		require.Equal(t, v, s.Get([]byte("a")).Version())
		require.Nil(t, s.Get([]byte("b")))

		results, version, err = s.TxnIf(given, nil, ops, accept(nil))
		require.NoError(t, err)
		require.Greater(t, version, v)
		require.Zero(t, seen[1].Entry.Version(), "it has none yet")
		require.Equal(t, version, results[2].Entry.Version())
		seen[1].Entry.version = version
		require.Equal(t, seen, results[1:])
		require.Nil(t, s.Get([]byte("a")))

		// A condition that does not hold comes first.
		_, _, err = s.TxnIf(nil, []Condition{{Key: []byte("b"), Version: 1}}, ops, accept(refusal))
		require.ErrorAs(t, err, new(*ConflictError))
	}
}

// An absolute expiry is kept as it is given. One that has passed is a write too: it takes a version, and leaves the key absent.
func TestExpireAt(t *testing.T) {
	now := uint64(fakeStart / 1000)
	set := func(s opened, key string, at uint64) (uint64, error) {
		return s.Set([]byte(key), []byte("new"), SetOptions{ExpireAt: at})
	}
	txn := func(s opened, key string, at uint64) (uint64, error) {
		_, version, err := s.Txn(nil, nil, []Op{{Kind: OpSet, Key: []byte(key), Value: []byte("new"), ExpireAt: at}})
		return version, err
	}
	for name, write := range map[string]func(opened, string, uint64) (uint64, error){"Set": set, "Txn": txn} {
		for _, history := range []int{0, 3} {
			t.Run(fmt.Sprint(name, history), func(t *testing.T) {
				j := newFakeJournal()
				s := openTest(t, Options{History: history, Journal: j}, fullHash)
				last := s.put(t, "there", "old")
				for _, at := range []uint64{now + 1, now + 1000, math.MaxInt64, math.MaxUint64} {
					version, err := write(s, "there", at)
					require.NoError(t, err)
					require.Greater(t, version, last)
					require.Equal(t, at, s.Get([]byte("there")).Expiry())
					last = version
				}
				for i, key := range []string{"there", "there", "never", ""} { // the second time it is absent
					version, err := write(s, key, []uint64{1, now - 1, now, now}[i])
					require.NoError(t, err)
					require.Greater(t, version, last)
					require.Nil(t, s.Get([]byte(key)))
					require.Zero(t, s.Stats().Keys)
					logged := j.records[len(j.records)-1]
					require.Equal(t, version, logged.version)
					if i == 0 {
						require.True(t, logged.entries[0].Deleted(), "in the log it is a deletion")
					} else {
						require.Empty(t, logged.entries, "the log has its version alone")
					}
					last = version
				}
				require.Empty(t, s.past("never"))
				if history > 0 {
					require.Equal(t, []string{"-", "new", "new", "new"}, s.past("there"))
				}
				_, err := s.Set([]byte("there"), nil, SetOptions{Conditional: true, IfVersion: 1, ExpireAt: 1})
				require.ErrorAs(t, err, new(*ConflictError), "a condition comes first")
				_, err = s.Set([]byte("there"), nil, SetOptions{TTL: 1, ExpireAt: now + 1})
				require.ErrorIs(t, err, ErrTwoExpiries)
			})
		}
	}
}

// An operation of a transaction that is of no kind is an error, and nothing of the transaction is done.
func TestTxnOfNoKind(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	for _, kind := range []OpKind{0, OpDel + 1, 255} {
		_, _, err := s.Txn(nil, nil, []Op{{Kind: OpSet, Key: []byte("key"), Value: []byte("value")}, {Kind: kind, Key: []byte("key")}})
		require.ErrorContains(t, err, fmt.Sprintf("operation 1 of 2 is of kind %d", kind))
	}
	require.Nil(t, s.Get([]byte("key")))
}

// To leave a key absent takes no memory, so a full store does it.
func TestExpireAtInAFullStore(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	s.put(t, "key", "value")
	s.budget.limit = 1
	for _, key := range []string{"key", "none"} {
		_, err := s.Set([]byte(key), make([]byte, 1000), SetOptions{ExpireAt: 1})
		require.NoError(t, err)
	}
	s.budget.limit = 0
	require.Zero(t, s.Stats().Keys)
}

func TestExpiry(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	now := uint64(fakeStart / 1000)
	tests := []struct {
		ttl, expiry uint64
	}{
		{0, 0},
		{1, now + 1},
		{1000, now + 1000},
		{math.MaxUint64 - now - 1, math.MaxUint64 - 1},
		{math.MaxUint64 - now, math.MaxUint64},
		{math.MaxUint64 - now + 1, math.MaxUint64},
		{math.MaxUint64, math.MaxUint64},
	}
	for _, test := range tests {
		key := fmt.Append(nil, test.ttl)
		_, err := s.Set(key, nil, SetOptions{TTL: test.ttl})
		require.NoError(t, err)
		require.Equal(t, test.expiry, s.Get(key).Expiry())
		results, _, err := s.Txn(nil, nil, []Op{{Kind: OpSet, Key: key, TTL: test.ttl}, {Kind: OpGet, Key: key}})
		require.NoError(t, err)
		require.Equal(t, test.expiry, results[1].Entry.Expiry())
	}

	key := []byte("1000")
	s.clock.pass(999)
	require.NotNil(t, s.Get(key))
	s.clock.pass(1)
	require.Nil(t, s.Get(key))
	require.Equal(t, []*Entry{nil}, s.MGet(nil, [][]byte{key}))
	n, version, err := s.Del([][]byte{key})
	require.NoError(t, err)
	require.Zero(t, n)
	require.Zero(t, version)
	results, _, err := s.Txn(nil, nil, []Op{{Kind: OpGet, Key: key}, {Kind: OpDel, Key: key}})
	require.NoError(t, err)
	require.Equal(t, []Result{{}, {}}, results)
	require.Empty(t, s.History(nil, key, 0))

	// A Set without a TTL clears an earlier one.
	s.put(t, "1000", "for good")
	s.clock.pass(1 << 40)
	require.NotNil(t, s.Get(key))
	require.NotNil(t, s.Get(fmt.Append(nil, uint64(math.MaxUint64))), "an expiry that saturated never comes")
}

// What has expired stays so when the wall clock is set back, and time goes on at its pace.
func TestClockStepsBack(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	set := func(key string, ttl uint64) {
		_, err := s.Set([]byte(key), nil, SetOptions{TTL: ttl})
		require.NoError(t, err)
	}
	set("a", 10)
	set("b", 20)
	s.clock.pass(10)
	require.Nil(t, s.Get([]byte("a")))
	s.clock.wall.Add(-3600_000_000)
	require.Nil(t, s.Get([]byte("a")))
	s.sweep()
	require.EqualValues(t, 1, s.Stats().Keys)
	require.NotNil(t, s.Get([]byte("b")))
	s.clock.pass(10)
	require.Nil(t, s.Get([]byte("b")))
	set("c", 10)
	require.NotNil(t, s.Get([]byte("c")))
	s.clock.pass(10)
	require.Nil(t, s.Get([]byte("c")))

	// Forward, the wall clock is followed.
	set("d", 1000)
	s.clock.wall.Add(2 * 3600_000_000)
	s.sweep()
	require.Nil(t, s.Get([]byte("d")))
	require.Zero(t, s.Stats().Keys)
}

func TestCounts(t *testing.T) {
	s := openTest(t, Options{History: 1}, fullHash)
	var want Stats
	is := func(what string) {
		t.Helper()
		got := s.Stats()
		want.MemoryBytes, want.History = got.MemoryBytes, got.History
		require.Equal(t, want, got, what)
	}
	is("at first")

	v := s.put(t, "a", "12345")
	want.Keys, want.ValueBytes, want.SetOps = 1, 5, 1
	is("a set")
	s.put(t, "a", "123")
	want.ValueBytes, want.SetOps = 3, 2
	is("an overwrite")
	_, err := s.MSet(pairsOf("a", "1", "b", "22", "a", "4444"))
	require.NoError(t, err)
	want.Keys, want.ValueBytes, want.SetOps = 2, 6, 5
	is("an MSET that names a key twice")

	s.Get([]byte("a"))
	s.Get([]byte("none"))
	s.MGet(nil, keysOf("a", "a", "none"))
	s.GetVersion([]byte("a"), v)
	want.GetOps, want.Misses = 6, 3
	is("reads, found or not")

	n, _, err := s.Del(keysOf("a", "a", "none"))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	want.Keys, want.ValueBytes, want.DelOps = 1, 2, 3
	is("deletions, of what was there or not")
	n, _, err = s.Del(keysOf("none"))
	require.NoError(t, err)
	require.Zero(t, n)
	want.DelOps = 4
	is("a deletion of one key that is not there")

	_, _, err = s.Txn(nil, nil, []Op{
		{Kind: OpSet, Key: []byte("c"), Value: []byte("333")},
		{Kind: OpGet, Key: []byte("c")},
		{Kind: OpDel, Key: []byte("c")},
		{Kind: OpDel, Key: []byte("c")},
	})
	require.NoError(t, err)
	want.SetOps, want.GetOps, want.DelOps = 6, 7, 6
	is("a transaction")

	_, err = s.Set([]byte("b"), nil, SetOptions{Conditional: true})
	require.Error(t, err)
	_, _, err = s.Txn(nil, []Condition{{Key: []byte("b")}}, []Op{{Kind: OpGet, Key: []byte("b")}, {Kind: OpSet, Key: []byte("b")}})
	require.Error(t, err)
	is("conflicts")
	s.budget.limit = 1
	_, err = s.Set([]byte("b"), make([]byte, 200_000), SetOptions{})
	require.ErrorIs(t, err, ErrOutOfMemory)
	_, err = s.MSet(pairsOf("x", "1", "y", strings.Repeat("2", 200_000)))
	require.ErrorIs(t, err, ErrOutOfMemory)
	s.budget.limit = 0
	is("writes that were refused")

	_, err = s.Scan(nil, ScanOptions{})
	require.NoError(t, err)
	require.NoError(t, s.Flush())
	is("a scan")

	_, err = s.Rollback([]byte("a"), s.History(nil, []byte("a"), 0)[1].Entry.Version())
	require.NoError(t, err)
	want.SetOps, want.Keys, want.ValueBytes = 7, 2, 6
	is("a rollback to a value")
	_, err = s.Set([]byte("a"), nil, SetOptions{TTL: 1})
	require.NoError(t, err)
	want.SetOps, want.ValueBytes, want.Expiring = 8, 2, 1
	is("an empty value")
	s.clock.pass(1)
	is("an expired key counts until it is swept")
	s.sweep()
	want.Keys, want.Expiring, want.Expired = 1, 0, 1
	is("the sweeper's deletions are nobody's operations")
	_, err = s.Set([]byte("a"), nil, SetOptions{TTL: 1})
	require.NoError(t, err)
	s.clock.pass(1)
	s.put(t, "a", "")
	want.SetOps, want.Keys = 10, 2
	s.sweep()
	is("a key that was set anew before it was swept")
	require.Nil(t, s.Get([]byte("none")))
	_, _, err = s.Txn(nil, nil, []Op{{Kind: OpGet, Key: []byte("none")}, {Kind: OpGet, Key: []byte("a")}})
	require.NoError(t, err)
	want.GetOps, want.Misses = 10, 5
	is("misses, in a transaction too")
}

func TestCountsOfSessions(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	a, b := s.Store.Session(), s.Store.Session()
	a.Get(nil)
	b.Get(nil)
	b.Get(nil)
	require.Zero(t, s.Stats().GetOps, "nothing was flushed")
	require.NoError(t, a.Flush())
	require.EqualValues(t, 1, s.Stats().GetOps)
	require.EqualValues(t, 1, s.Stats().Misses)
	require.EqualValues(t, 3, b.Stats().GetOps, "a session's own are always in")
	b.Get(nil)
	b.Close()
	require.EqualValues(t, 4, s.Stats().GetOps, "what a session did before it closed")
	a.Close()
	a.Close()
	require.EqualValues(t, 4, s.Stats().GetOps)
	require.EqualValues(t, 4, s.Stats().Misses)
	require.Len(t, s.sessions, 1)
}

func TestAnyKeyAnyValue(t *testing.T) {
	keys := []string{"", "\x00", "\x00\x00", "a", strings.Repeat("k", 100_000), "\xff\xfe"}
	values := []string{"", "\x00", strings.Repeat("v", 32<<10), strings.Repeat("v", 5<<20+1)}
	for _, m := range masks {
		t.Run(m.name, func(t *testing.T) {
			s := openTest(t, Options{History: 1}, m.mask)
			for _, v := range values {
				for _, k := range keys {
					s.put(t, k, v)
				}
				for _, k := range keys {
					e := s.Get([]byte(k))
					require.True(t, bytes.Equal(e.Key(), []byte(k)) && bytes.Equal(e.Value(), []byte(v)))
					require.NotNil(t, e.Value())
				}
			}
			n, _, err := s.Del(keysOf(keys...))
			require.NoError(t, err)
			require.Equal(t, len(keys), n)
		})
	}
}

// What a caller does with its keys and values afterwards is its own business.
func TestKeysAndValuesAreCopied(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	key, value := []byte("key"), []byte("value")
	_, err := s.Set(key, value, SetOptions{})
	require.NoError(t, err)
	_, err = s.MSet([]Pair{{[]byte("other"), value}})
	require.NoError(t, err)
	copy(key, "xxx")
	copy(value, "xxxxx")
	require.Equal(t, "value", text(s.Get([]byte("key"))))
	require.Equal(t, "value", text(s.Get([]byte("other"))))
}

func TestNothingAskedNothingDone(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	v, err := s.MSet(nil)
	require.NoError(t, err)
	require.Zero(t, v)
	n, v, err := s.Del(nil)
	require.NoError(t, err)
	require.Zero(t, n)
	require.Zero(t, v)
	results, v, err := s.Txn(nil, nil, nil)
	require.NoError(t, err)
	require.Empty(t, results)
	require.Zero(t, v)
	require.Empty(t, s.MGet(nil, nil))
	s.Warm(nil)
	require.Equal(t, v, uint64(0))
}

func TestResultsAreAppended(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	s.put(t, "a", "1")
	got := s.MGet([]*Entry{nil}, keysOf("a", "b"))
	require.Len(t, got, 3)
	require.Equal(t, []string{"-", "1", "-"}, []string{text(got[0]), text(got[1]), text(got[2])})
	results, _, err := s.Txn([]Result{{Existed: true}}, nil, []Op{{Kind: OpGet, Key: []byte("a")}})
	require.NoError(t, err)
	require.Len(t, results, 2)
	require.True(t, results[0].Existed)
	require.Len(t, s.History([]Revision{{}}, []byte("a"), 0), 2)
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{History: -1}, {MaxMemory: -1}} {
		_, err := Open(o)
		require.ErrorContains(t, err, "must be")
	}
}

func TestStoresDiffer(t *testing.T) {
	a, b := openTest(t, Options{}, fullHash), openTest(t, Options{}, fullHash)
	require.NotEqual(t, a.Instance(), b.Instance())
	require.NotZero(t, a.Instance())
}
