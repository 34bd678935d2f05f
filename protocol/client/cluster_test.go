package client

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol"
)

// A Client takes the first server that answers, finds the one that leads, and sends all its requests there.
func TestClientFindsTheLeader(t *testing.T) {
	for _, old := range []bool{false, true} { // where nobody says who leads, the first write finds out
		t.Run(fmt.Sprint("old=", old), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeCluster("c:1")
				f.down["a:1"], f.old = true, old
				c := f.client(t, all, Options{Timeout: time.Minute})
				assert.Equal(t, "b:1", c.Addr())
				for range 3 {
					_, err := c.Set(t.Context(), protocol.Set{})
					require.NoError(t, err)
				}
				assert.Equal(t, 3, f.count("c:1 SET"))
				assert.Equal(t, "c:1", c.Leader())
				moved := 0
				if old {
					moved = 1
				}
				assert.Equal(t, moved, f.count("b:1 SET"), "who led is remembered")
				_, err := c.Get(t.Context(), nil)
				require.NoError(t, err)
				_, _, err = c.Start(t.Context(), protocol.Set{}.AppendTo).Wait(t.Context())
				require.NoError(t, err)
				assert.Equal(t, 1, f.count("c:1 GET"))
				assert.Equal(t, 1, f.count("c:1 SET"))

				f.lead("b:1") // which it is connected to already
				_, err = c.Set(t.Context(), protocol.Set{})
				require.NoError(t, err)
				assert.Equal(t, 1, f.count("b:1 SET"))
				f.lead("c:1")
				_, err = c.Set(t.Context(), protocol.Set{})
				require.NoError(t, err)
				assert.Equal(t, 1, f.dials["c:1"], "that connection is still good")
				_, _, err = c.Start(t.Context(), protocol.Set{}.AppendTo).Wait(t.Context())
				require.NoError(t, err)

				f.stop("c:1")
				f.lead("b:1")
				synctest.Wait()
				_, err = c.Set(t.Context(), protocol.Set{})
				require.NoError(t, err)
			})
		})
	}
}

// Where servers send a request round, it is sent on three times, and nothing was applied.
func TestClientIsNotSentRoundForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster("b:1")
		f.leader = map[string]string{"a:1": "b:1", "b:1": "c:1", "c:1": "a:1"}
		for name, set := range map[string]func() error{
			"client": func() error {
				_, err := f.client(t, "a:1", Options{}).Set(t.Context(), protocol.Set{})
				return err
			},
			"pool": func() error {
				_, err := f.pool(t, "a:1", PoolOptions{}).Set(t.Context(), protocol.Set{})
				return err
			},
		} {
			err := set()
			assert.ErrorIs(t, err, protocol.ErrUnavailable, name)
			assert.NotErrorIs(t, err, ErrUnknown, name)
			assert.ErrorContains(t, err, "sent on 3 times", name)
			assert.Equal(t, []int{2, 1, 1}, []int{f.count("a:1 SET"), f.count("b:1 SET"), f.count("c:1 SET")}, name)
		}
	})
}

// A leader whose address is none is not dialled, and one that can't be reached is named in the error.
func TestClientThatCannotFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster("c:1")
		c := f.client(t, "a:1", Options{})
		f.down["c:1"] = true
		began := time.Now()
		_, err := c.Set(t.Context(), protocol.Set{})
		assert.ErrorContains(t, err, "not applied: the server that leads: connect to c:1: connection refused")
		assert.NotErrorIs(t, err, ErrUnknown)
		assert.Equal(t, electing, time.Since(began))

		hasty, cancel := context.WithTimeout(t.Context(), time.Second+followAgain/2)
		_, err = c.Set(hasty, protocol.Set{})
		assert.ErrorIs(t, err, ErrNotApplied)
		cancel()

		// Another is chosen meanwhile.
		time.AfterFunc(time.Second, func() { f.lead("b:1") })
		_, err = c.Set(t.Context(), protocol.Set{})
		assert.NoError(t, err)
		assert.Equal(t, "b:1", c.Leader())
		for _, nowhere := range []string{"no address", ":1", "host:", "a:1\n", "\x00"} {
			f.lead(nowhere)
			_, err := c.Set(t.Context(), protocol.Set{})
			assert.ErrorIs(t, err, protocol.ErrMoved, "%q", nowhere)
			assert.Zero(t, f.dials[nowhere])
		}
	})
}

// Close does not wait for a connection that is being made.
func TestCloseWhileFollowing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster("b:1")
		c, err := Dial(t.Context(), "a:1", Options{dialer: f.dialAllButB})
		require.NoError(t, err)
		failed := make(chan error)
		go func() { _, err := c.Set(t.Context(), protocol.Set{}); failed <- err }()
		synctest.Wait()
		require.NoError(t, c.Close())
		assert.ErrorContains(t, <-failed, "not applied")
	})
}

// Who is sent on while somebody else dials the server that leads waits for that no longer than he has time.
func TestWhoIsMovedWaitsNoLongerThanHisContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster("b:1")
		c, err := Dial(t.Context(), "a:1", Options{dialer: f.dialAllButB})
		require.NoError(t, err)
		var done sync.WaitGroup
		done.Go(func() { c.Set(t.Context(), protocol.Set{}) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err = c.Set(ctx, protocol.Set{})
		assert.ErrorIs(t, err, ErrNotApplied)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(began))
		require.NoError(t, c.Close())
		done.Wait()
	})
}

// Many who are sent on to a server that says nothing wait for one dial, all at once, and are told together what becomes
// of it. Who has no time left goes, and the dial goes on for the others.
func TestManyWaitForOneDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster("b:1")
		answers := make(chan struct{}) // b:1 does, from then on
		var dials atomic.Int32
		c, err := Dial(t.Context(), "a:1", Options{dialer: func(ctx context.Context, addr string) (net.Conn, error) {
			if addr == "b:1" {
				dials.Add(1)
				select {
				case <-answers:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			return f.dial(ctx, addr)
		}})
		require.NoError(t, err)
		defer c.Close()
		set := func(ctx context.Context) (took time.Duration, err error) {
			began := time.Now()
			_, err = c.Set(ctx, protocol.Set{})
			return time.Since(began), err
		}
		var done sync.WaitGroup
		hasty := func() { // begins the dial
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			took, err := set(ctx)
			assert.ErrorIs(t, err, ErrNotApplied)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, time.Second, took)
		}
		done.Go(hasty)
		synctest.Wait()
		for range 50 {
			done.Go(func() {
				took, err := set(t.Context())
				assert.ErrorIs(t, err, ErrNotApplied)
				assert.ErrorContains(t, err, "connect to b:1")
				assert.Equal(t, 2*followTime+followAgain, took, "no longer than one alone would")
			})
		}
		done.Wait()
		assert.EqualValues(t, 2, dials.Load())

		done.Go(hasty)
		synctest.Wait()
		for range 50 {
			done.Go(func() {
				took, err := set(t.Context())
				assert.NoError(t, err)
				assert.Equal(t, followTime/2, took)
			})
		}
		time.Sleep(followTime / 2)
		close(answers)
		done.Wait()
		assert.EqualValues(t, 3, dials.Load())
		assert.Equal(t, 50, f.count("b:1 SET"))
	})
}

// Timeout bounds a request that is sent on, too, however long the dial may take that it waits for.
func TestWhoIsMovedWaitsNoLongerThanTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster("b:1")
		c, err := Dial(t.Context(), "a:1", Options{Timeout: 2 * time.Second, dialer: f.dialAllButB})
		require.NoError(t, err)
		defer c.Close()
		var done sync.WaitGroup
		for range 3 {
			done.Go(func() {
				began := time.Now()
				_, err := c.Set(t.Context(), protocol.Set{})
				assert.ErrorIs(t, err, ErrNotApplied)
				assert.Equal(t, 2*time.Second, time.Since(began))
			})
			time.Sleep(1500 * time.Millisecond)
		}
		done.Wait()
	})
}

// Of many who are sent on at the same time one dials.
func TestManyAreMovedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster("b:1")
		f.hold = make(chan struct{})
		c := f.client(t, "a:1", Options{})
		var done sync.WaitGroup
		for range 50 {
			done.Go(func() {
				_, err := c.Set(t.Context(), protocol.Set{})
				assert.NoError(t, err)
			})
		}
		synctest.Wait()
		close(f.hold)
		done.Wait()
		assert.Equal(t, 1, f.dials["b:1"])
		assert.Equal(t, 50, f.count("b:1 SET"))
	})
}

// Where no server is there the error names each; what each would say is said once; and of those that do not answer none
// keeps from the next.
func TestDialOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster("a:1")
		f.down = map[string]bool{"a:1": true, "b:1": true, "c:1": true}
		_, err := Dial(t.Context(), all, Options{dialer: f.dial})
		assert.EqualError(t, err,
			"connect to a:1: connection refused; connect to b:1: connection refused; connect to c:1: connection refused")

		wrong := answeringHello(protocol.ErrUnauthenticated)
		dials := 0
		_, err = Dial(t.Context(), all, Options{dialer: func(context.Context, string) (net.Conn, error) {
			dials++
			ours, theirs := net.Pipe()
			go wrong(theirs)
			return ours, nil
		}})
		assert.ErrorIs(t, err, protocol.ErrUnauthenticated)
		assert.Equal(t, 1, dials)

		// One that is no server of kv is none of a cluster: the others may be.
		f.down = map[string]bool{"b:1": true}
		f.lead("c:1")
		c, err := Dial(t.Context(), all, Options{dialer: func(ctx context.Context, addr string) (net.Conn, error) {
			if addr != "a:1" {
				return f.dial(ctx, addr)
			}
			ours, theirs := net.Pipe()
			go saying("HTTP/1.1 400 Bad Request\r\n\r\n")(theirs)
			return ours, nil
		}})
		require.NoError(t, err)
		assert.Equal(t, "c:1", c.Addr())
		c.Close()

		f.down = map[string]bool{}
		began := time.Now()
		c, err = Dial(t.Context(), all, Options{Timeout: 30 * time.Second, dialer: func(ctx context.Context, addr string) (net.Conn, error) {
			if addr != "c:1" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return f.dial(ctx, addr)
		}})
		require.NoError(t, err)
		defer c.Close()
		assert.Equal(t, "c:1", c.Addr())
		assert.Equal(t, 2*dialPause, time.Since(began))
	})
}

// answeringHello is the script of a server that refuses HELLO.
func answeringHello(e *protocol.Error) func(net.Conn) {
	return func(conn net.Conn) {
		defer conn.Close()
		if q, ok := readRequest(conn); ok {
			conn.Write(protocol.AppendError(nil, q.Opcode, q.ID, e))
			readRequest(conn)
		}
	}
}
