package wal_test

import (
	"fmt"
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

// gate lets the calls of one kind through one at a time.
type gate struct {
	op      string
	arrived chan string
	pass    chan error
}

func newGate(op string) *gate { return &gate{op, make(chan string), make(chan error)} }

func (g *gate) before(_ int64, op, name string) error {
	if op != g.op {
		return nil
	}
	g.arrived <- name
	return <-g.pass
}

// One sync serves all writes that were appended while the one before ran, and nobody is answered before it.
func TestGroupCommit(t *testing.T) {
	mem := vfstest.NewMem()
	inject := &vfstest.Inject{FS: mem}
	n := mustStart(t, inject, wal.Options{Sync: wal.Always}, store.Options{})
	g := newGate("sync")
	inject.Before = g.before

	const sessions = 50
	var answered atomic.Int32
	done := make(chan error, sessions+1)
	write := func() {
		s := n.st.Session()
		defer s.Close()
		_, err := s.Set([]byte("first"), nil, store.SetOptions{})
		if err == nil {
			err = s.Flush()
		}
		answered.Add(1)
		done <- err
	}
	go write()
	<-g.arrived
	var started sync.WaitGroup
	versions := make(chan uint64, sessions)
	for i := range sessions {
		started.Add(1)
		go func() {
			s := n.st.Session()
			defer s.Close()
			v, err := s.Set([]byte(fmt.Sprint(i)), nil, store.SetOptions{})
			versions <- v
			started.Done()
			if err == nil {
				err = s.Flush()
			}
			answered.Add(1)
			done <- err
		}()
	}
	started.Wait()
	require.Zero(t, answered.Load(), "nobody is answered before the sync")
	// A reader sees what the writers wrote, and is not answered either.
	r := n.st.Session()
	require.Eventually(t, func() bool { return r.Get([]byte("first")) != nil }, time.Minute, time.Millisecond) // it is shown once it is on its way to the disk
	read := make(chan error, 1)
	go func() { read <- r.Flush() }()

	g.pass <- nil
	require.NoError(t, <-done)
	require.NoError(t, <-read)
	<-g.arrived
	require.EqualValues(t, 1, answered.Load())
	g.pass <- nil
	for range sessions {
		require.NoError(t, <-done)
	}
	newest := uint64(0)
	for range sessions {
		newest = max(newest, <-versions)
	}
	require.Equal(t, newest, n.log.Durable(), "one sync for all fifty")
	go func() {
		for range g.arrived {
			g.pass <- nil
		}
	}()
	require.NoError(t, n.stop())
	close(g.arrived)
}

// While more is appended than the queue may hold, Admit waits.
func TestAdmitWaits(t *testing.T) {
	inject := &vfstest.Inject{FS: vfstest.NewMem()}
	n := mustStart(t, inject, wal.Options{Sync: wal.Always, QueueBytes: 1000}, store.Options{})
	g := newGate("write")
	inject.Before = g.before
	n.set(t, "large", string(make([]byte, 2000))) // passes, though it is larger than the queue
	<-g.arrived
	admitted := make(chan error)
	go func() { admitted <- n.log.Admit(0) }()
	select {
	case <-admitted:
		t.Fatal("admitted with a full queue")
	default:
	}
	_, err := n.log.Append(0, nil)
	var again *store.NotAdmittedError
	require.ErrorAs(t, err, &again, "Append never waits")
	g.pass <- nil
	require.NoError(t, <-admitted)
	version, err := n.log.Append(0, nil)
	require.NoError(t, err)
	<-g.arrived
	go func() { admitted <- n.log.Admit(0) }()
	g.pass <- syscall.EIO
	if err := <-admitted; err != nil { // whichever came first
		require.ErrorIs(t, err, syscall.EIO)
	}
	require.ErrorIs(t, n.log.Wait(version), syscall.EIO) // the log has failed by now
	require.ErrorIs(t, n.log.Admit(0), syscall.EIO)
	require.Error(t, n.stop())
}
