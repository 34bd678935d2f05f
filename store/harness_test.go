package store

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kv/store/arena"
)

func TestMain(m *testing.M) {
	// How many runs TestModel has for each hash, unless the command line says otherwise.
	if err := flag.Set("rapid.checks", fmt.Sprint(soak(20, 5000))); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// soak is how much more the long form of a test does, which KV_SOAK in the environment asks for.
func soak(short, long int) int {
	if os.Getenv("KV_SOAK") != "" {
		return long
	}
	return short
}

// masks are the hashes that suites run with: the whole one, those that make every key collide or all but a sixteenth, at
// either end, and one that puts all keys into one shard, so that few of them make it grow.
var masks = []struct {
	name string
	mask uint64
}{
	{"whole", fullHash},
	{"constant", 0},
	{"top4", 0xf << 60},
	{"low4", 0xf},
	{"oneShard", fullHash >> shardBits},
}

const fullHash = ^uint64(0)

// testMemory is small, poisoned when it is freed, and under the race detector of a kind that the detector can watch,
// which takes four times as much itself: so that it is smaller still.
var testMemory = func() arena.Options {
	o := arena.Options{Range: 64 << 20, Chunk: 64 << 10, GoMemory: raceEnabled, Poison: true}
	if raceEnabled {
		o.Range = 24 << 20
	}
	return o
}()

// fatal is what *testing.T and *rapid.T have in common.
type fatal interface {
	require.TestingT
	Helper()
	Cleanup(func())
}

// fakeStart is when fake clocks start, in Unix microseconds.
const fakeStart = 1_700_000_000_000_000

// fakeClock is a clock that stands still until it is told. The zero value shows fakeStart.
type fakeClock struct{ wall, mono atomic.Int64 }

func (c *fakeClock) read() (wall, mono int64) { return fakeStart + c.wall.Load(), c.mono.Load() }

// pass lets this many milliseconds pass.
func (c *fakeClock) pass(millis int64) {
	c.wall.Add(millis * 1000)
	c.mono.Add(millis * 1000)
}

// opened is a store under test, with a session, a clock that stands still, and no sweeper.
type opened struct {
	*Store
	*Session
	clock *fakeClock
}

// Close and Stats are of both; tests mean the session's Stats and close the store by name.
// What waits is left out: a refused write leaves something of that.
func (o opened) Stats() Stats {
	t := o.Session.Stats()
	t.WaitingBytes = 0
	return t
}

func (o opened) Close() error { return o.Store.Close() }

// openTest opens a store, and when the test ends checks its structure and closes it.
func openTest(t fatal, o Options, mask uint64) opened {
	t.Helper()
	clock := new(fakeClock)
	memory := testMemory
	memory.Sets = memoryFor(o.MaxMemory).Sets
	s, err := open(o, mask, clock.read, memory)
	require.NoError(t, err)
	c := s.Session()
	t.Cleanup(func() {
		c.Close()
		require.NoError(t, s.Check())
		require.NoError(t, s.Close())
	})
	return opened{s, c, clock}
}

// put sets key and returns the version.
func (o opened) put(t fatal, key, value string) uint64 {
	t.Helper()
	v, err := o.Set([]byte(key), []byte(value), SetOptions{})
	require.NoError(t, err)
	return v
}

// del deletes key, which must exist, and returns the deletion's version.
func (o opened) del(t fatal, key string) uint64 {
	t.Helper()
	n, v, err := o.Del([][]byte{[]byte(key)})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	return v
}

// text returns the value of e as text, "-" if there is none.
func text(e *Entry) string {
	if e == nil || e.Deleted() {
		return "-"
	}
	return string(e.Value())
}

// past returns the key's kept values, newest first, "-" for deletions.
func (o opened) past(key string) []string {
	var all []string
	for _, r := range o.History(nil, []byte(key), 0) {
		all = append(all, text(r.Entry))
	}
	return all
}

func keysOf(names ...string) [][]byte {
	keys := make([][]byte, len(names))
	for i, n := range names {
		keys[i] = []byte(n)
	}
	return keys
}

func pairsOf(keysAndValues ...string) []Pair {
	var pairs []Pair
	for i := 0; i < len(keysAndValues); i += 2 {
		pairs = append(pairs, Pair{[]byte(keysAndValues[i]), []byte(keysAndValues[i+1])})
	}
	return pairs
}

// fakeJournal keeps its records in memory and does with them what a test says.
type fakeJournal struct {
	mu      sync.Mutex
	changed *sync.Cond // of durable and waiting
	records []record
	last    uint64
	durable uint64
	waiting int   // how many are in Wait
	lazy    bool  // records become durable only by sync
	refuse  error // what Append answers
	state   int   // how many of the records Replay gives to load
}

// record is one write. Its entries have their versions once the write is done.
type record struct {
	version uint64
	entries []*Entry
}

func newFakeJournal() *fakeJournal {
	j := &fakeJournal{last: fakeStart}
	j.changed = sync.NewCond(&j.mu)
	return j
}

func (j *fakeJournal) Replay(load, apply func([]*Entry)) (uint64, error) {
	for i, r := range j.records {
		if i < j.state {
			load(r.copies())
		} else {
			apply(r.copies())
		}
	}
	return j.last, nil
}

// copies returns the entries as a journal would read them back.
func (r record) copies() []*Entry {
	var all []*Entry
	for _, e := range r.entries {
		if purge, of := e.Purge(); purge {
			all = append(all, NewPurge(r.version, e.Key(), of))
			continue
		}
		if now, is := e.Time(); is {
			all = append(all, NewTime(r.version, now))
			continue
		}
		if oldest, is := e.Forget(); is {
			all = append(all, NewForget(r.version, oldest))
			continue
		}
		if depth, is := e.Depth(); is {
			all = append(all, NewDepth(r.version, depth))
			continue
		}
		if age, is := e.Age(); is {
			all = append(all, NewAge(r.version, age))
			continue
		}
		all = append(all, NewEntry(r.version, e.Key(), e.Value(), e.Expiry(), e.Deleted()))
	}
	return all
}

func (j *fakeJournal) Append(floor uint64, entries []*Entry) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.refuse != nil {
		return 0, j.refuse
	}
	for _, e := range entries {
		if e.version != 0 {
			panic("an entry has a version before its write is ordered")
		}
	}
	j.last = max(j.last, floor) + 1
	j.records = append(j.records, record{j.last, Clones(entries)})
	if !j.lazy {
		j.durable = j.last
	}
	return j.last, nil
}

func (j *fakeJournal) Expect() int64 { return 0 }

func (j *fakeJournal) Admit(int64) error { return nil }

func (j *fakeJournal) Durable() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.durable
}

func (j *fakeJournal) Wait(version uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.waiting++
	j.changed.Broadcast()
	for j.durable < version {
		j.changed.Wait()
	}
	j.waiting--
	return nil
}

// sync makes all records durable.
func (j *fakeJournal) sync() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.durable = j.last
	j.changed.Broadcast()
}

// awaitWaiter returns once somebody is in Wait.
func (j *fakeJournal) awaitWaiter() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.waiting == 0 {
		j.changed.Wait()
	}
}

func (j *fakeJournal) refuseWith(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.refuse = err
}

var errRefused = fmt.Errorf("%w: the disk is gone", ErrReadOnly)

// segmentKeys is about how many keys a segment of the table has at most.
const segmentKeys = 256
