package store

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What callers and their journals run inside of the store may panic, or end their goroutine: nothing is applied then, no lock
// is held, and no memory is counted that nobody has.
func TestCallersCodeThatPanics(t *testing.T) {
	ends := map[string]func(){
		"panic":  func() { panic("boom") },
		"Goexit": runtime.Goexit,
	}
	for _, m := range masks {
		for name, end := range ends {
			for _, history := range []int{0, 2} {
				t.Run(fmt.Sprint(m.name, "/", name, "/", history), func(t *testing.T) {
					testCallersCodeThatEnds(t, m.mask, history, end)
				})
			}
		}
	}
}

func testCallersCodeThatEnds(t *testing.T, mask uint64, history int, end func()) {
	j := &watched{fakeJournal: newFakeJournal()}
	s := openTest(t, Options{Journal: j, History: history}, mask)
	_, err := s.MSet(pairsOf("a", "old", "b", "old", "gone", ""))
	require.NoError(t, err)
	s.del(t, "gone")
	ops := []Op{
		{Kind: OpSet, Key: []byte("a"), Value: []byte("new")},
		{Kind: OpDel, Key: []byte("b")},
		{Kind: OpSet, Key: []byte("c"), Value: []byte("new"), TTL: 1000},
		{Kind: OpGet, Key: []byte("gone")},
	}
	state := func() string {
		all := ""
		for _, k := range []string{"a", "b", "c", "gone"} {
			assert.Equal(t, text(s.Get([]byte(k))), text(s.MGet(nil, keysOf(k))[0]))
			all += fmt.Sprint(k, s.past(k), " ")
		}
		return all
	}
	before, stats := state(), s.Stats()
	calls := []struct {
		name    string
		call    func(c *Session)
		journal bool // what ends is the journal's Append
	}{
		{"accept", func(c *Session) { c.TxnIf(nil, nil, ops, func([]Result) error { end(); return nil }) }, false},
		{"accept of a transaction that only reads", func(c *Session) {
			c.TxnIf(nil, nil, ops[3:], func([]Result) error { end(); return nil })
		}, false},
		{"change", func(c *Session) {
			c.Update(keysOf("a", "b", "c"), func(u *Update) error {
				u.Set([]byte("a"), []byte("new"), 0)
				u.Set([]byte("c"), []byte("new"), u.Now()+1000)
				u.Delete([]byte("b"))
				end()
				return nil
			})
		}, false},
		{"Walk", func(*Session) { s.Walk(func(*Entry) error { end(); return nil }) }, false},
		{"Append of Set", func(c *Session) { c.Set([]byte("a"), make([]byte, 1000), SetOptions{}) }, true},
		{"Append of Set of a new key", func(c *Session) { c.Set([]byte("c"), nil, SetOptions{TTL: 1000}) }, true},
		{"Append of Del", func(c *Session) { c.Del(keysOf("a")) }, true},
		{"Append of MSet", func(c *Session) { c.MSet(pairsOf("a", "", "c", "")) }, true},
		{"Append of Txn", func(c *Session) { c.Txn(nil, nil, ops) }, true},
		{"Append of Update", func(c *Session) {
			c.Update(keysOf("a"), func(u *Update) error { u.Set([]byte("a"), nil, 0); return nil })
		}, true},
	}
	for _, call := range calls {
		if call.journal {
			j.during = end
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { recover() }()
			c := s.Store.Session()
			defer c.Close()
			call.call(c)
			t.Errorf("%s has returned", call.name)
		}()
		<-done
		j.during = nil
		require.NoError(t, s.Check(), call.name)
		require.Equal(t, before, state(), call.name)
		require.Equal(t, stats.MemoryBytes, s.Stats().MemoryBytes, call.name)
	}
	for _, k := range []string{"a", "b", "c", "gone"} {
		s.put(t, k, "newer")
		require.Equal(t, "newer", text(s.Get([]byte(k))))
	}
}

// What accept was shown has been read, however accept ends: Flush waits for it.
func TestFlushWaitsForWhatAcceptWasShown(t *testing.T) {
	j := newFakeJournal()
	j.lazy = true
	s := openTest(t, Options{Journal: j}, fullHash)
	version := s.put(t, "key", "")
	require.NotZero(t, version)
	j.sync()
	require.NoError(t, s.Flush())

	c := s.Store.Session()
	defer c.Close()
	version = s.put(t, "key", "not durable")
	require.Panics(t, func() {
		c.TxnIf(nil, nil, []Op{{Kind: OpGet, Key: []byte("key")}}, func([]Result) error { panic("boom") })
	})
	require.Equal(t, version, c.seen)
	j.sync()
	require.NoError(t, c.Flush())
	require.NoError(t, s.Flush())
}

// The logger is the caller's too: it may use the store.
func TestLoggerMayUseTheStore(t *testing.T) {
	var s opened
	logged := 0
	s = openTest(t, Options{Logger: slog.New(handlerFunc(func() {
		logged++
		s.Stats()
		s.put(t, "log", "line")
	}))}, fullHash)
	s.clock.wall.Add(3600_000_000)
	s.sweep()
	s.clock.wall.Add(-3600_000_000)
	done := make(chan struct{})
	go func() { defer close(done); s.sweep() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		panic("the logger waits for a lock that is held while it is called")
	}
	require.Equal(t, 2, logged)
}

// A write that can't fit, whatever goes, takes nobody's history; one that can takes what it needs.
func TestHopelessWriteTakesNoHistory(t *testing.T) {
	const limit = 4 << 20
	value := func(n int) []byte { return make([]byte, n) }
	writes := []struct {
		name  string
		write func(s opened, n int) error
	}{
		{"Set of a new key", func(s opened, n int) error { _, err := s.Set([]byte("big"), value(n), SetOptions{}); return err }},
		{"Set of a key with history", func(s opened, n int) error {
			_, err := s.Set([]byte("key1"), value(n), SetOptions{TTL: 1000})
			return err
		}},
		{"MSet", func(s opened, n int) error {
			_, err := s.MSet([]Pair{{[]byte("key1"), value(n / 2)}, {[]byte("big"), value(n / 2)}})
			return err
		}},
		{"Txn", func(s opened, n int) error {
			_, _, err := s.Txn(nil, nil, []Op{
				{Kind: OpDel, Key: []byte("key2")},
				{Kind: OpSet, Key: []byte("big"), Value: value(n)},
			})
			return err
		}},
	}
	for _, m := range masks {
		for _, w := range writes {
			t.Run(m.name+"/"+w.name, func(t *testing.T) {
				s := openTest(t, Options{MaxMemory: limit, History: 4}, m.mask)
				for i := range 400 {
					for range 5 {
						s.put(t, fmt.Sprint("key", i), string(value(1000+i%200)))
					}
				}
				before := s.Stats()
				require.EqualValues(t, 1600, before.History)
				// All that there is without history.
				hopeless := limit - int(s.inUse()-s.pastBytes())
				for _, n := range []int{hopeless, limit, 2 * limit} {
					require.ErrorIs(t, w.write(s, n), ErrOutOfMemory)
					after := s.Stats()
					require.LessOrEqual(t, after.MemoryBytes, before.MemoryBytes+64<<10, "a chunk is kept for the next write")
					after.MemoryBytes = before.MemoryBytes
					require.Equal(t, before, after, "%d bytes", n)
				}
				// More than there is if all scattered memory is brought together.
				fits := limit - int(s.inUse()) + int(s.pastBytes())/4
				require.NoError(t, w.write(s, fits))
				after := s.Stats()
				require.Less(t, after.History, before.History)
				require.Positive(t, after.History, "more went than was needed")
			})
		}
	}
}

// handlerFunc is a log's handler that is called for each record.
type handlerFunc func()

func (f handlerFunc) Enabled(context.Context, slog.Level) bool  { return true }
func (f handlerFunc) Handle(context.Context, slog.Record) error { f(); return nil }
func (f handlerFunc) WithAttrs([]slog.Attr) slog.Handler        { return f }
func (f handlerFunc) WithGroup(string) slog.Handler             { return f }
