package wal_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/vfs"
	"kv/store/vfs/vfstest"
	"kv/store/wal"
)

// soak reports whether the long form of a test is asked for, by KV_SOAK=1.
func soak() bool { return os.Getenv("KV_SOAK") != "" }

// seeds returns how many seeds a test runs through: few, or many in its long form.
func seeds(few, many int) int {
	if soak() {
		return many
	}
	return few
}

// ledger is what is known of all writes of a run: by version, what each left of its keys.
type ledger struct {
	keys  int // how many keys are worked on
	large int // one in so many values is a large one; 0: none

	// refused reports whether a session goes on after its write, or what it waited for, has failed; nil: it does not.
	refused func(err error) bool

	mu     sync.Mutex
	writes map[uint64]map[string]string // a key's value, or deleted
	proven uint64                       // the newest version that was acknowledged, or seen by a read that was
}

func newLedger(keys int) *ledger { return &ledger{keys: keys, writes: map[uint64]map[string]string{}} }

const deleted = "\x00deleted"

func (l *ledger) wrote(version uint64, left map[string]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes[version] = left
}

func (l *ledger) prove(version uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proven = max(l.proven, version)
}

// at returns the state of the store after all writes up to version.
func (l *ledger) at(version uint64) map[string]string {
	state := map[string]string{}
	for _, v := range slices.Sorted(maps.Keys(l.writes)) {
		if v <= version {
			apply(state, l.writes[v])
		}
	}
	return state
}

func apply(state, write map[string]string) {
	for k, v := range write {
		if v == deleted {
			delete(state, k)
		} else {
			state[k] = v
		}
	}
}

// work writes and reads with one session until steps are done or the log has failed, and keeps the ledger.
func (l *ledger) work(st *store.Store, id, steps int, rng *rand.Rand) error {
	s := st.Session()
	defer s.Close()
	for i := range steps {
		key := func() string { return fmt.Sprint("k", rng.IntN(l.keys)) }
		width := 1 + rng.IntN(100)
		if l.large != 0 && rng.IntN(l.large) == 0 {
			width = 3000 + rng.IntN(3000)
		}
		value := fmt.Sprintf("%d.%d.%0*d", id, i, width, 0)
		var v uint64
		var err error
		var left map[string]string
		switch rng.IntN(6) {
		case 0, 1:
			left = map[string]string{key(): value}
			for k, val := range left {
				v, err = s.Set([]byte(k), []byte(val), store.SetOptions{})
			}
		case 2, 3:
			a, b := key(), key()
			left = map[string]string{a: value, b: value}
			v, err = s.MSet([]store.Pair{{Key: []byte(a), Value: []byte(value)}, {Key: []byte(b), Value: []byte(value)}})
		case 4:
			a, b := key(), key()
			left = map[string]string{a: deleted, b: deleted}
			_, v, err = s.Del([][]byte{[]byte(a), []byte(b)})
		default:
			if e := s.Get([]byte(key())); e != nil {
				v = e.Version()
			}
		}
		if err == nil && left != nil && v != 0 {
			l.wrote(v, left)
		}
		if err == nil && rng.IntN(3) > 0 {
			if err = s.Flush(); err == nil {
				l.prove(v)
			}
		}
		if err != nil && (l.refused == nil || !l.refused(err)) {
			return err
		}
	}
	if err := s.Flush(); err != nil && (l.refused == nil || !l.refused(err)) {
		return err
	}
	return nil
}

// crash is what a disk had when the machine lost power, and what must be in it.
type crash struct {
	fs     *vfstest.Mem
	proven uint64
	what   string
}

// recovered reads a data folder into a map, as a store would.
func recovered(fs vfs.FS, o wal.Options) (state map[string]string, newest uint64, err error) {
	o.FS, o.Dir, o.Logger = fs, "/data", quiet
	log, err := wal.Open(o)
	if err != nil {
		return nil, 0, err
	}
	var mu sync.Mutex
	versions := map[string]uint64{}
	state = map[string]string{}
	take := func(entries []*store.Entry) {
		mu.Lock()
		defer mu.Unlock()
		for _, e := range entries {
			newest = max(newest, e.Version())
			k := string(e.Key())
			if versions[k] >= e.Version() {
				continue
			}
			versions[k] = e.Version()
			if e.Deleted() {
				delete(state, k)
			} else {
				state[k] = string(e.Value())
			}
		}
	}
	_, err = log.Replay(take, take)
	if err2 := log.Close(); err == nil {
		err = err2
	}
	return state, newest, err
}

// check verifies that state is that after some prefix of the writes, which has all up to least in it.
func (l *ledger) check(t *testing.T, state map[string]string, least uint64, what string) {
	want := l.at(least)
	if maps.Equal(want, state) {
		return
	}
	for _, v := range slices.Sorted(maps.Keys(l.writes)) {
		if v <= least {
			continue
		}
		if apply(want, l.writes[v]); maps.Equal(want, state) {
			return
		}
	}
	require.Equal(t, l.at(least), state, "%s: not the state after any prefix of the writes with version %d in it", what, least)
}

// TestCrash loses power before every call that changes the disk, while several sessions write, files rotate and
// snapshots are taken; in every other run the disk is full now and then, and files can't be begun, which passes.
// Whatever a disk may have kept, recovery gives the state after some prefix of the writes; under policy Always one that
// has in it every write that was acknowledged and everything that a read has shown.
func TestCrash(t *testing.T) {
	crashes := 0
	for seed := range seeds(40, 20_000) {
		crashes += crashRun(t, uint64(seed))
	}
	t.Logf("%d crashes", crashes)
}

func crashRun(t *testing.T, seed uint64) int {
	rng := rand.New(rand.NewPCG(seed, 1))
	policy := wal.Policy(rng.IntN(4) % 3) // half of them Always
	o := wal.Options{Sync: policy, RotateBytes: 800 + rng.Int64N(3000), SnapshotBytes: 1000 + rng.Int64N(6000), Interval: time.Millisecond,
		ReserveBytes: []int64{-1, 4000, 20_000}[rng.IntN(3)]}

	l := newLedger(8)
	l.large = 12
	var mu sync.Mutex
	var crashes []crash
	mem := vfstest.NewMem()
	pick := rand.New(rand.NewPCG(seed, 2))
	faulty := seed%2 == 1
	var f fickle
	inject := &vfstest.Inject{FS: mem, Before: func(n int64, op, name string) error {
		l.mu.Lock()
		proven := l.proven // before the clone is made, so that it is in it
		l.mu.Unlock()
		mu.Lock()
		defer mu.Unlock()
		percent := []int{0, 50, 100}[pick.IntN(3)]
		crashes = append(crashes, crash{mem.Crash(percent, pick), proven, fmt.Sprintf("seed %d, %v, before call %d: %s %s, %d%%", seed, policy, n, op, name, percent)})
		return f.fail(op, name, faulty && len(crashes) > 10 && pick.IntN(8) == 0)
	}}
	o.Retry = time.Microsecond
	n := mustStart(t, inject, o, store.Options{})
	if faulty {
		l.refused = func(err error) bool { return n.log.Failed() == nil }
	}
	var wg sync.WaitGroup
	for id := range 3 {
		r := rand.New(rand.NewPCG(seed, uint64(10+id)))
		wg.Go(func() {
			if err := l.work(n.st, id, 40, r); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	mu.Lock()
	faulty = false
	mu.Unlock()
	require.NoError(t, n.stop())
	state, _, err := recovered(mem, o)
	require.NoError(t, err)
	newest := uint64(0)
	for v := range l.writes {
		newest = max(newest, v)
	}
	require.Equal(t, l.at(newest), state, "after a close")

	count := len(crashes)
	for i, c := range crashes {
		least := c.proven
		if policy != wal.Always {
			least = 0
		}
		// Some of them lose power again while they recover.
		if i%16 == int(seed%16) {
			again := &vfstest.Inject{FS: c.fs, Before: func(k int64, op, name string) error {
				twice := c.fs.Crash([]int{0, 50, 100}[rng.IntN(3)], rng)
				state, _, err := recovered(twice, o)
				require.NoError(t, err, "%s, and again before call %d: %s %s", c.what, k, op, name)
				l.check(t, state, least, fmt.Sprintf("%s, and again before call %d: %s %s", c.what, k, op, name))
				count++
				return nil
			}}
			state, _, err := recovered(again, o)
			require.NoError(t, err, c.what)
			l.check(t, state, least, c.what)
			continue
		}
		state, seen, err := recovered(c.fs, o)
		require.NoError(t, err, c.what)
		l.check(t, state, max(least, seen), c.what)
	}
	return count
}

// fickle is a disk on which calls fail for reasons that pass.
type fickle struct {
	named map[string]bool // the logs that were begun, as far as is known
}

// fail returns an error of a call, if it is to fail and if it is one whose failure is not final.
func (f *fickle) fail(op, name string, fails bool) error {
	if f.named == nil {
		f.named = map[string]bool{}
	}
	isLog := strings.HasPrefix(filepath.Base(name), "log-")
	switch {
	case !fails:
	case op == "write" || op == "zero" || op == "allocate":
		return syscall.ENOSPC
	case op == "sync" && isLog && f.named[name]:
	default:
		return syscall.EIO
	}
	switch op {
	case "create":
		f.named[name] = false
	case "rename":
		f.named[name] = true
	}
	return nil
}
