package wal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/vfs/vfstest"
	"kv/store/wal"
)

// TestEveryCallFails lets the N-th call that changes the disk fail, for every N, once (the disk then works again) or for good,
// while sessions write, files rotate and snapshots are taken. Whatever fails, nothing acknowledged is lost. Once a sync, or
// for another reason than want of room a write, has failed nothing is written to the log again, since a later sync that
// succeeds proves nothing; after any other failure the log goes on.
func TestEveryCallFails(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.EMFILE, syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		for _, once := range []bool{true, false} {
			t.Run(fmt.Sprintf("%v, once %t", cause, once), func(t *testing.T) {
				for seed := range seeds(1, 300) {
					for n := int64(1); failCall(t, n, cause, once, uint64(seed)); n++ {
					}
				}
			})
		}
	}
}

func wantOfRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// failCall runs a store whose n-th call fails, and reports whether there were so many.
func failCall(t *testing.T, n int64, cause error, once bool, seed uint64) bool {
	what := fmt.Sprintf("seed %d, call %d", seed, n)
	o := wal.Options{Sync: wal.Always, RotateBytes: 1000, SnapshotBytes: -1, ReserveBytes: 4000, Retry: 10 * time.Microsecond}
	failed := make(chan error, 2)
	o.Failed = func(err error) { failed <- err }
	mem := vfstest.NewMem()
	var mu sync.Mutex
	var first string             // the call that failed first
	var dead bool                // the log must be written to no more
	written := map[string]bool{} // the logs that have their names
	inject := &vfstest.Inject{FS: mem, Before: func(k int64, op, name string) error {
		mu.Lock()
		defer mu.Unlock()
		isLog := strings.HasPrefix(filepath.Base(name), "log-")
		if dead && isLog && op != "remove" {
			t.Errorf("%s: %s %s after %s had failed", what, op, name, first)
		}
		fails := k == n || k > n && !once
		if fails && first == "" {
			first = op + " " + name
		}
		switch {
		case op == "create" || op == "rename":
			written[name] = op == "rename" && !fails
		case fails && written[name]:
			dead = dead || op == "sync" || op == "write" && !wantOfRoom(cause)
		}
		if fails {
			return cause
		}
		return nil
	}}
	failure := func() string {
		mu.Lock()
		defer mu.Unlock()
		return first
	}
	l := newLedger(8)
	node, err := start(inject, o, store.Options{})
	if err != nil {
		require.ErrorIs(t, err, cause, what)
		_, _, err := recovered(mem.Crash(0, nil), o)
		require.NoError(t, err, what)
		return true
	}
	l.refused = func(err error) bool {
		if !errors.Is(err, store.ErrReadOnly) || !errors.Is(err, cause) {
			t.Errorf("%s, %s: a write fails with %v", what, failure(), err)
		}
		return node.log.Failed() == nil
	}
	var wg sync.WaitGroup
	for id := range 2 {
		wg.Go(func() {
			for round := range 2 {
				l.work(node.st, id, 25, rand.New(rand.NewPCG(seed, uint64(2*id+round))))
				if id == 0 && round == 0 {
					if _, _, err := node.log.Snapshot(context.Background()); err != nil && !errors.Is(err, cause) {
						t.Errorf("%s, %s: the snapshot fails with %v", what, failure(), err)
					}
				}
			}
		})
	}
	wg.Wait()
	mu.Lock()
	isDead := dead
	mu.Unlock()
	s := node.st.Session()
	defer s.Close()
	if once && !isDead {
		// It goes on by itself.
		require.Eventually(t, func() bool {
			v, err := s.Set([]byte("last"), nil, store.SetOptions{})
			if err == nil {
				l.wrote(v, map[string]string{"last": ""})
				err = s.Flush()
			}
			return err == nil || node.log.Failed() != nil
		}, time.Minute, 100*time.Microsecond, "%s, %s", what, failure())
		if node.log.Failed() == nil {
			require.Eventually(t, func() bool { return node.log.Refusing() == nil }, time.Minute, 100*time.Microsecond, "%s, %s", what, failure())
			l.prove(l.newest())
		}
	}
	err = node.log.Failed()
	mu.Lock()
	isDead = dead // this write may have done it
	mu.Unlock()
	require.Equal(t, isDead, err != nil, "%s, %s: %v", what, failure(), err)
	if err != nil {
		require.ErrorIs(t, err, store.ErrReadOnly, what)
		require.ErrorIs(t, err, cause, what)
		require.ErrorContains(t, err, "/data", "%s: it names the file", what)
		// Reads of what is durable go on.
		require.NoError(t, node.st.Walk(func(e *store.Entry) error {
			if e.Version() <= node.log.Durable() {
				s := node.st.Session()
				defer s.Close()
				s.Get(e.Key())
			}
			return nil
		}))
		_, err := s.Set([]byte("k"), nil, store.SetOptions{})
		require.ErrorIs(t, err, store.ErrReadOnly, what)
	}
	err = node.stop()
	require.Equal(t, node.log.Failed(), err, what)
	if err != nil {
		require.ErrorIs(t, err, cause, what)
	}
	if isDead {
		require.Equal(t, err, <-failed, what)
	}
	mu.Lock()
	died := dead // the close may have done it
	mu.Unlock()
	if !died {
		require.Empty(t, failed, "%s: nothing that is final", what)
	}
	state, newest, err := recovered(mem.Crash(0, nil), o)
	require.NoError(t, err, "%s: %s", what, failure())
	// What was in flight when the log failed may be there, and has no version in the ledger.
	if newest <= l.newest() {
		l.check(t, state, l.proven, what+": "+failure())
	}
	return failure() != ""
}

func (l *ledger) newest() (v uint64) {
	for w := range l.writes {
		v = max(v, w)
	}
	return v
}

// stalled is a journal that stops between having appended a write and telling the store so.
type stalled struct {
	*wal.Log
	appended, proceed chan struct{}
}

func (s *stalled) Append(floor uint64, entries []*store.Entry) (uint64, error) {
	v, err := s.Log.Append(floor, entries)
	s.appended <- struct{}{}
	<-s.proceed
	return v, err
}

// A write that is in a log before the snapshot's is in the snapshot, even if it was not to be seen yet when that began.
func TestSnapshotWaitsForWrites(t *testing.T) {
	mem := vfstest.NewMem()
	var published atomic.Bool
	walking := make(chan struct{})
	inject := &vfstest.Inject{FS: mem, Before: func(_ int64, op, name string) error {
		if strings.Contains(name, "snapshot-") && op == "create" {
			close(walking)
		}
		if strings.Contains(name, "snapshot-") && op == "write" && !published.Load() {
			t.Error("the walk has ended before the write was to be seen")
		}
		return nil
	}}
	log, err := wal.Open(wal.Options{FS: inject, Dir: "/data", Logger: quiet})
	require.NoError(t, err)
	j := &stalled{log, make(chan struct{}), make(chan struct{})}
	st, err := store.Open(store.Options{Journal: j})
	require.NoError(t, err)
	log.Attach(st)
	done := make(chan error, 2)
	go func() {
		s := st.Session()
		defer s.Close()
		_, err := s.Set([]byte("k"), []byte("v"), store.SetOptions{})
		done <- err
	}()
	<-j.appended
	go func() {
		_, _, err := log.Snapshot(context.Background())
		done <- err
	}()
	<-walking
	for range 10_000 {
		runtime.Gosched() // a walk that did not wait would be through
	}
	published.Store(true)
	close(j.proceed)
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	require.NoError(t, st.Close())
	require.NoError(t, log.Close())
	state, _, err := recovered(mem, wal.Options{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"k": "v"}, state)
}

// After a snapshot the folder holds that, and the log that was begun with it.
func TestSnapshotBoundsTheLog(t *testing.T) {
	mem := vfstest.NewMem()
	n := mustStart(t, mem, wal.Options{RotateBytes: 1000, SnapshotBytes: -1}, store.Options{})
	for i := range 200 {
		n.set(t, fmt.Sprint(i%10), strings.Repeat("x", 100))
		require.NoError(t, n.s.Flush())
	}
	require.Greater(t, n.log.Stats().LogFiles, int64(10))
	_, size, err := n.log.Snapshot(context.Background())
	require.NoError(t, err)
	names, err := mem.List("/data")
	require.NoError(t, err)
	require.Len(t, names, 3, "%v", names)
	require.Equal(t, "LOCK", names[0])
	require.Equal(t, strings.TrimPrefix(names[1], "log-"), strings.TrimPrefix(names[2], "snapshot-"))
	log := mem.Snapshot()["/data/"+names[1]]
	require.Empty(t, bytes.TrimRight(log[36:], "\x00"), "a header, and no record from before")
	stats := n.log.Stats()
	require.EqualValues(t, 1, stats.LogFiles)
	require.Equal(t, size, stats.SnapshotBytes)
	require.Zero(t, stats.SinceSnapshot)
	require.NoError(t, n.stop())
}
