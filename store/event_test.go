package store

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// waitGroup is a Waiter that many wait as.
type waitGroup struct{ sync.WaitGroup }

func (w *waitGroup) Happened() { w.Done() }

func setKey(t *testing.T, s opened) {
	_, err := s.Set([]byte("k"), []byte("v"), SetOptions{})
	require.NoError(t, err)
}

// TestEvent: each who waits is told once, however many there are, and nobody who comes later.
func TestEvent(t *testing.T) {
	for _, n := range []int{0, 1, 2, toldAtOnce, 3*toldAtOnce + 1} {
		e := NewEvent()
		var w waitGroup
		for range n {
			w.Add(1)
			require.True(t, e.Notify(&w))
		}
		select {
		case <-e.Done():
			t.Fatal("it has not happened")
		default:
		}
		e.Happen()
		<-e.Done()
		w.Wait()                       // panics where it is told too often
		require.False(t, e.Notify(&w)) // likewise
	}
}

// TestTryFlush: a session that waits for its journal flushes at once when that is done, and not before; what it has
// counted is seen then.
func TestTryFlush(t *testing.T) {
	j := newFakeJournal()
	j.lazy = true
	s := openTest(t, Options{Journal: j}, fullHash)
	require.False(t, s.Waits())
	require.True(t, s.TryFlush())
	setKey(t, s)
	for i, look := range []func(){
		func() { setKey(t, s) },
		func() { require.NotNil(t, s.Get([]byte("k"))) }, // of what is not durable yet
	} {
		look()
		require.True(t, s.Waits())
		require.False(t, s.TryFlush())
		require.False(t, s.TryFlush(), "it is as it was")
		require.False(t, s.Await(new(waitGroup)), "this journal can't tell")
		if i == 1 {
			j.sync()
			require.False(t, s.Waits())
			require.True(t, s.TryFlush())
			require.EqualValues(t, 1, s.Stats().GetOps)
		}
	}
}

// TestTryFlushOfAReplica: what can't be said at once, or not at all, is left to Flush.
func TestTryFlushOfAReplica(t *testing.T) {
	set := setKey
	for _, test := range []struct {
		name string
		do   func(t *testing.T, s opened, r *fakeReplica)
		want bool
	}{
		{"a write", func(t *testing.T, s opened, r *fakeReplica) { set(t, s) }, true},
		{"writes", func(t *testing.T, s opened, r *fakeReplica) { set(t, s); set(t, s) }, true},
		{"a read before", func(t *testing.T, s opened, r *fakeReplica) { require.NoError(t, s.Begin(ReadMode{})); set(t, s) }, false},
		{"a read that was answered", func(t *testing.T, s opened, r *fakeReplica) {
			require.NoError(t, s.Begin(ReadMode{}))
			require.NoError(t, s.Flush())
			set(t, s)
		}, true},
		{"a conflict is confirmed", func(t *testing.T, s opened, r *fakeReplica) {
			set(t, s)
			_, err := s.Set([]byte("k"), nil, SetOptions{Conditional: true, IfVersion: 7})
			require.Error(t, err)
		}, false},
		{"another epoch", func(t *testing.T, s opened, r *fakeReplica) { set(t, s); r.depose(1) }, false},
		{"the one after", func(t *testing.T, s opened, r *fakeReplica) { set(t, s); r.depose(1); r.lead() }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, r := openReplica(t, Options{}, fullHash)
			test.do(t, s, r)
			if r.Epoch() == 1 {
				require.False(t, s.TryFlush(), "it is not committed")
			}
			for r.commit() {
			}
			epoch := r.Epoch()
			require.Equal(t, test.want, s.TryFlush())
			err := s.Flush()
			if epoch == 1 {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, ErrUnknown)
			}
		})
	}
}
