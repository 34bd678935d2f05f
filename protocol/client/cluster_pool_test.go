package client

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol"
)

// A server that was away for long is dialled at once when another says that it leads.
func TestAPoolDialsTheLeaderAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster("b:1")
		f.stop("b:1")
		p := f.pool(t, "a:1,b:1", PoolOptions{})
		time.Sleep(10 * time.Minute) // it pauses for as long as it ever does
		for range 10 {
			f.mu.Lock()
			f.down["b:1"] = false
			f.mu.Unlock()
			began := time.Now()
			_, err := p.Set(t.Context(), protocol.Set{})
			require.NoError(t, err)
			require.LessOrEqual(t, time.Since(began), firstPause)
			f.stop("b:1")
			time.Sleep(10*time.Minute + time.Second/3)
		}
		// Of one that is not there it makes no more attempts than one in firstPause/2.
		f.mu.Lock()
		before := f.dials["b:1"]
		f.mu.Unlock()
		began := time.Now()
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			p.Set(ctx, protocol.Set{})
			cancel()
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		require.LessOrEqual(t, f.dials["b:1"]-before, int(time.Since(began)/(firstPause/2))+2)
	})
}

// While the others have not noticed that the server that led is gone they are asked again, for some seconds, and who
// leads then is found at once.
func TestAPoolOutlivesALeaderThatIsGone(t *testing.T) {
	for after, found := range map[time.Duration]bool{100 * time.Millisecond: true, 1700 * time.Millisecond: true,
		time.Minute: false} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeCluster("c:1")
			p := f.pool(t, all, PoolOptions{})
			_, err := p.Set(t.Context(), protocol.Set{})
			require.NoError(t, err)
			time.Sleep(time.Minute)
			f.stop("c:1")
			synctest.Wait()
			began := time.Now()
			time.AfterFunc(after, func() { f.lead("b:1") })
			_, err = p.Set(t.Context(), protocol.Set{})
			if found {
				require.NoError(t, err)
				require.Less(t, time.Since(began), after+200*time.Millisecond)
			} else {
				require.ErrorIs(t, err, protocol.ErrUnavailable)
				require.Less(t, time.Since(began), 2*goneTime)
			}
			time.Sleep(2 * time.Minute)
		})
	}
}

// A Pool of one address learns of the others, and goes on when the server that leads is gone: a write that was under
// way is unknown, all others are applied once.
func TestPoolFollowsTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster("c:1")
		p := f.pool(t, "a:1,b:1", PoolOptions{})
		for range 5 {
			_, err := p.Set(t.Context(), protocol.Set{})
			require.NoError(t, err)
			_, err = p.Get(t.Context(), nil)
			require.NoError(t, err)
		}
		assert.Equal(t, 5, f.count("c:1 SET"))
		assert.Equal(t, 1, f.count("a:1 SET")+f.count("b:1 SET"))
		assert.Equal(t, 5, f.count("c:1 GET"), "reads go where writes go")

		f.mu.Lock()
		f.hold = make(chan struct{})
		f.mu.Unlock()
		underWay := make(chan error)
		go func() { _, err := p.Set(t.Context(), protocol.Set{}); underWay <- err }()
		synctest.Wait()
		f.stop("c:1")
		f.mu.Lock()
		close(f.hold)
		f.hold = nil
		f.mu.Unlock()
		assert.ErrorIs(t, <-underWay, ErrUnknown)

		f.lead("") // while one is chosen, a write is refused, and a read waits
		f.count("a:1 SET")
		_, err := p.Set(t.Context(), protocol.Set{})
		assert.ErrorIs(t, err, protocol.ErrUnavailable)
		assert.Equal(t, 1, f.count("a:1 SET"), "a write that may have been applied is not repeated")
		time.AfterFunc(100*time.Millisecond, func() { f.lead("b:1") })
		_, err = p.Get(t.Context(), nil)
		assert.NoError(t, err)
		_, err = p.Set(t.Context(), protocol.Set{})
		assert.NoError(t, err)
		assert.Equal(t, 1, f.count("b:1 SET"))

		f.lead("c:1") // it is said to lead, and is not there: who else might know is asked again
		time.AfterFunc(500*time.Millisecond, func() { f.lead("b:1") })
		_, err = p.Set(t.Context(), protocol.Set{})
		assert.NoError(t, err)
	})
}

// Reads are spread when that is asked for, as old as is allowed; what one server can't answer is asked of the one that leads.
func TestPoolSpreadsReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster("b:1")
		p := f.pool(t, all, PoolOptions{SpreadReads: true, Options: Options{MaxStale: time.Second}})
		synctest.Wait()
		_, err := p.Set(t.Context(), protocol.Set{})
		require.NoError(t, err)
		for range 30 {
			_, err := p.Get(t.Context(), nil)
			require.NoError(t, err)
		}
		for _, m := range members {
			assert.Equal(t, 10, f.count(m+" GET"), m)
			assert.Equal(t, 1, f.count(m+" READS"), m)
		}
		f.mu.Lock()
		f.stale["a:1"], f.stale["c:1"] = true, true
		f.mu.Unlock()
		for range 30 {
			_, err := p.Get(t.Context(), nil)
			require.NoError(t, err)
		}
		assert.Equal(t, 30, f.count("b:1 GET"))
		f.mu.Lock()
		f.stale["b:1"] = true
		f.mu.Unlock()
		_, err = p.Get(t.Context(), nil)
		assert.ErrorIs(t, err, protocol.ErrStale)
	})
}
