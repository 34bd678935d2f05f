package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol"
)

// network is what a Pool dials in the bubble of synctest: each attempt is refused, or gets a script at the other end.
type network struct {
	mu     sync.Mutex
	accept func(attempt int) (script func(net.Conn), err error) // attempt counts from 1
	dials  []time.Time
	open   []net.Conn
}

func (n *network) dial(context.Context, string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dials = append(n.dials, time.Now())
	script, err := n.accept(len(n.dials))
	if err != nil {
		return nil, err
	}
	ours, theirs := net.Pipe()
	n.open = append(n.open, theirs)
	go func() {
		defer theirs.Close()
		script(theirs)
	}()
	return ours, nil
}

// pool returns a Pool on the network, and closes both when the test ends.
func (n *network) pool(t *testing.T, o PoolOptions) *Pool {
	o.dialer = n.dial
	p := NewPool("far:7070", o)
	t.Cleanup(func() {
		p.Close()
		n.cut()
	})
	return p
}

// cut ends all connections that there are.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, conn := range n.open {
		conn.Close()
	}
	n.open = nil
}

func (n *network) attempts() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.dials)
}

var errRefused = &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}

// counting is answering(echo), and counts what it was asked.
func counting(asked *map[protocol.Opcode]int) func(net.Conn) {
	return answering(func(q request) []byte {
		(*asked)[q.Opcode]++
		return echo(q)
	})
}

// A read goes on over another connection where its own breaks; a write does not, and says that nobody knows.
func TestPoolRepeatsReadsAlone(t *testing.T) {
	breaking := func(conn net.Conn) { // greets, reads one request, and is gone
		greeted(func(net.Conn, request) {})(conn)
	}
	synctest.Test(t, func(t *testing.T) {
		asked := map[protocol.Opcode]int{}
		var n network
		n.accept = func(attempt int) (func(net.Conn), error) {
			if attempt%2 == 1 {
				return breaking, nil
			}
			return counting(&asked), nil
		}
		p := n.pool(t, PoolOptions{})
		v, err := p.Get(t.Context(), []byte("k"))
		require.NoError(t, err)
		assert.Equal(t, "k", string(v.Data))
		assert.Equal(t, 2, n.attempts())

		n.cut()
		synctest.Wait()
		_, err = p.Set(t.Context(), protocol.Set{})
		assert.ErrorIs(t, err, ErrUnknown)
		assert.ErrorIs(t, err, ErrClosed)
		require.NoError(t, p.Ping(t.Context(), []byte("p")))
		assert.Equal(t, map[protocol.Opcode]int{protocol.OpGet: 1, protocol.OpPing: 1}, asked, "nobody was asked to set again")
		_, err = p.Set(t.Context(), protocol.Set{})
		assert.NoError(t, err)
	})
}

// What ends every connection is not repeated for ever.
func TestPoolGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gets := 0
		n := network{accept: func(int) (func(net.Conn), error) {
			return greeted(func(net.Conn, request) { gets++ }), nil
		}}
		_, err := n.pool(t, PoolOptions{}).Get(t.Context(), nil)
		assert.ErrorIs(t, err, ErrClosed)
		assert.Equal(t, poolTries, gets)
	})
	synctest.Test(t, func(t *testing.T) {
		n := network{accept: func(int) (func(net.Conn), error) {
			return greeted(func(conn net.Conn, q request) { conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }), nil
		}}
		_, err := n.pool(t, PoolOptions{}).Get(t.Context(), nil)
		assert.ErrorIs(t, err, protocol.ErrMalformed, "a server that breaks the protocol is not asked again")
		synctest.Wait()
		assert.LessOrEqual(t, n.attempts(), 2)
	})
}

// A write that surely was not sent goes by the next connection: it is sent once.
func TestPoolSendsWhatWasNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := map[protocol.Opcode]int{}
		stuck := make(chan struct{})
		var n network
		n.accept = func(attempt int) (func(net.Conn), error) {
			if attempt > 1 {
				return counting(&asked), nil
			}
			return func(conn net.Conn) { // takes nothing after the greeting
				q, _ := readRequest(conn)
				conn.Write(helloAnswer.AppendTo(nil, q.ID))
				<-stuck
			}, nil
		}
		p := n.pool(t, PoolOptions{})
		c, err := p.Conn(t.Context())
		require.NoError(t, err)
		sent := c.Start(t.Context(), protocol.Set{Key: []byte("sent")}.AppendTo)
		synctest.Wait() // the writer has it, and is stuck
		queued := make(chan error)
		go func() { _, err := p.Set(t.Context(), protocol.Set{Key: []byte("queued")}); queued <- err }()
		synctest.Wait()
		close(stuck)
		assert.NoError(t, <-queued)
		_, _, err = sent.Wait(t.Context())
		assert.ErrorIs(t, err, ErrUnknown)
		assert.Equal(t, map[protocol.Opcode]int{protocol.OpSet: 1}, asked)
	})
}

// Between attempts passes more and more time, up to a bound, and never the same.
func TestPoolBacksOff(t *testing.T) {
	gaps := func(t *testing.T, n *network) (all []time.Duration) {
		for i := 1; i < len(n.dials); i++ {
			all = append(all, n.dials[i].Sub(n.dials[i-1]))
		}
		return all
	}
	synctest.Test(t, func(t *testing.T) {
		refuse := func(int) (func(net.Conn), error) { return nil, errRefused }
		one, other := network{accept: refuse}, network{accept: refuse}
		for _, n := range []*network{&one, &other} {
			p := n.pool(t, PoolOptions{})
			time.Sleep(5 * time.Minute)
			p.Close()
			pause := firstPause
			require.Greater(t, len(n.dials), 60)
			for i, gap := range gaps(t, n) {
				require.GreaterOrEqual(t, gap, pause/2, "pause %d", i)
				require.LessOrEqual(t, gap, pause, "pause %d", i)
				pause = min(2*pause, lastPause)
			}
		}
		assert.NotEqual(t, gaps(t, &one)[:10], gaps(t, &other)[:10])
	})
	// A server that takes connections and drops them is not dialled faster than one that refuses them.
	synctest.Test(t, func(t *testing.T) {
		n := network{accept: func(int) (func(net.Conn), error) {
			return func(conn net.Conn) {
				q, _ := readRequest(conn)
				conn.Write(helloAnswer.AppendTo(nil, q.ID))
			}, nil
		}}
		n.pool(t, PoolOptions{})
		time.Sleep(time.Minute)
		assert.Less(t, n.attempts(), 35)
	})
	// After a connection that lasted, the first attempt is soon.
	synctest.Test(t, func(t *testing.T) {
		var n network
		n.accept = func(attempt int) (func(net.Conn), error) {
			if attempt < 10 {
				return nil, errRefused
			}
			return answering(echo), nil
		}
		p := n.pool(t, PoolOptions{Options: Options{Timeout: time.Hour}})
		require.NoError(t, p.Ping(t.Context(), nil))
		time.Sleep(time.Minute)
		n.cut()
		began := time.Now()
		require.NoError(t, p.Ping(t.Context(), nil))
		assert.Less(t, time.Since(began), 2*firstPause)
	})
}

// A request waits for a server that comes, as long as it has time.
func TestPoolWaitsForTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		born := time.Now()
		var n network
		n.accept = func(int) (func(net.Conn), error) {
			if time.Since(born) < time.Minute {
				return nil, errRefused
			}
			return answering(echo), nil
		}
		p := n.pool(t, PoolOptions{})
		_, err := p.Set(t.Context(), protocol.Set{})
		assert.Equal(t, poolTimeout, time.Since(born))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.NotErrorIs(t, err, ErrUnknown)
		assert.ErrorContains(t, err, "not sent: no answer within 30s")
		assert.ErrorContains(t, err, "connect to far:7070: connection refused")

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = p.Get(ctx, nil)
		assert.Equal(t, poolTimeout+time.Second, time.Since(born))
		assert.ErrorIs(t, err, context.DeadlineExceeded)

		var all sync.WaitGroup
		time.Sleep(15 * time.Second)
		for range 100 {
			all.Go(func() {
				_, err := p.Set(t.Context(), protocol.Set{})
				assert.NoError(t, err)
			})
		}
		all.Wait()
		assert.Less(t, time.Since(born), time.Minute+lastPause+time.Millisecond)
	})
}

// What will not pass by itself is said at once, and once somebody has mended it all goes on.
func TestPoolSaysWhatWillNotPass(t *testing.T) {
	failures := map[string]struct {
		script  func(net.Conn)
		refused error
		at      time.Duration // after which the first request fails; negative: it waits
	}{
		"wrong secret": {func(conn net.Conn) {
			q, _ := readRequest(conn)
			conn.Write(protocol.AppendError(nil, q.Opcode, q.ID,
				&protocol.Error{Status: protocol.StatusUnauthenticated, Message: "no"}))
			readRequest(conn)
		}, protocol.ErrUnauthenticated, 0},
		"not kv": {func(conn net.Conn) { conn.Write([]byte("SSH-2.0-OpenSSH_9.9\r\n")) }, ErrClosed, 0},
		"loading": {func(conn net.Conn) {
			conn.Write(protocol.AppendError(nil, 0, 0, protocol.ErrUnavailable))
			readRequest(conn)
		}, protocol.ErrUnavailable, -1},
	}
	for name, f := range failures {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				born := time.Now()
				n := network{accept: func(int) (func(net.Conn), error) {
					if time.Since(born) < time.Minute {
						return f.script, nil
					}
					return answering(echo), nil
				}}
				p := n.pool(t, PoolOptions{})
				_, err := p.Get(t.Context(), nil)
				assert.ErrorIs(t, err, f.refused)
				if f.at >= 0 {
					assert.Less(t, time.Since(born), lastWords+firstPause)
					assert.NotErrorIs(t, err, context.DeadlineExceeded)
				} else {
					assert.Equal(t, poolTimeout, time.Since(born))
				}
				time.Sleep(time.Minute + lastPause)
				_, err = p.Get(t.Context(), nil)
				assert.NoError(t, err)
			})
		})
	}
}

// A connection whose other end is gone without a word is found out before anybody's time is over, and what waited goes on.
func TestPoolLooksAfterItsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n network
		var partitioned atomic.Bool
		n.accept = func(attempt int) (func(net.Conn), error) {
			first := attempt == 1
			return func(conn net.Conn) {
				answering(func(q request) []byte {
					if first && partitioned.Load() {
						return nil
					}
					return echo(q)
				})(conn)
			}, nil
		}
		p := n.pool(t, PoolOptions{})
		time.Sleep(time.Hour)
		assert.Equal(t, 1, n.attempts(), "an idle connection to a server that lives stays")
		partitioned.Store(true)
		began := time.Now()
		_, err := p.Get(t.Context(), nil)
		require.NoError(t, err)
		assert.LessOrEqual(t, time.Since(began), 2*checkEvery+firstPause)
		assert.Equal(t, 2, n.attempts())
	})
}

// As many connections as are wanted are kept, and used in turn.
func TestPoolOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		served := map[int]int{}
		n := network{accept: func(attempt int) (func(net.Conn), error) {
			return answering(func(q request) []byte {
				mu.Lock()
				defer mu.Unlock()
				served[attempt]++
				return echo(q)
			}), nil
		}}
		p := n.pool(t, PoolOptions{Connections: 3})
		synctest.Wait()
		for range 30 {
			require.NoError(t, p.Ping(t.Context(), nil))
		}
		assert.Equal(t, map[int]int{1: 10, 2: 10, 3: 10}, served)

		n.mu.Lock()
		n.open[0].Close()
		n.mu.Unlock()
		for range 30 { // the two that are left do it, until there is a third again
			require.NoError(t, p.Ping(t.Context(), nil))
		}
		time.Sleep(time.Second)
		assert.Equal(t, 4, n.attempts())
	})
}

func TestPoolCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := network{accept: func(int) (func(net.Conn), error) { return answering(func(request) []byte { return nil }), nil }}
		p := n.pool(t, PoolOptions{Connections: 2})
		errs := make(chan error)
		go func() { _, err := p.Get(t.Context(), nil); errs <- err }()
		go func() { _, err := p.Set(t.Context(), protocol.Set{}); errs <- err }()
		synctest.Wait()
		require.NoError(t, p.Close())
		one, other := <-errs, <-errs
		assert.ErrorIs(t, one, ErrClosed)
		assert.ErrorIs(t, other, ErrClosed)
		assert.NotEqual(t, errors.Is(one, ErrUnknown), errors.Is(other, ErrUnknown), "the write is unknown, the read is not")
		require.NoError(t, p.Close())
		_, err := p.Get(t.Context(), nil)
		assert.ErrorIs(t, err, ErrClosed)
		_, err = p.Backup(t.Context(), io.Discard)
		assert.ErrorIs(t, err, ErrClosed)
	})
	synctest.Test(t, func(t *testing.T) { // while it waits to dial again, and somebody for that
		n := network{accept: func(int) (func(net.Conn), error) { return nil, errRefused }}
		p := n.pool(t, PoolOptions{})
		failed := make(chan error)
		go func() { _, err := p.Get(t.Context(), nil); failed <- err }()
		synctest.Wait()
		began := time.Now()
		require.NoError(t, p.Close())
		assert.ErrorIs(t, <-failed, ErrClosed)
		assert.Zero(t, time.Since(began))
	})
}

// A backup stays on one connection: what it continues with belongs to that.
func TestPoolBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := network{accept: func(attempt int) (func(net.Conn), error) {
			return answering(func(q request) []byte {
				b, _ := protocol.ParseBackup(q.body)
				part := protocol.BackupResponse{Handle: b.Handle + 1, Chunk: fmt.Append(nil, attempt)}
				if b.Handle == 9 {
					part.Handle = 0
				}
				return part.AppendTo(nil, q.ID)
			}), nil
		}}
		p := n.pool(t, PoolOptions{Connections: 3})
		synctest.Wait()
		var b sink
		_, err := p.Backup(t.Context(), &b)
		require.NoError(t, err)
		assert.Len(t, b, 10)
		for _, c := range b {
			assert.Equal(t, b[0], c)
		}
	})
}

type sink []byte

func (s *sink) Write(p []byte) (int, error) {
	*s = append(*s, p...)
	return len(p), nil
}
