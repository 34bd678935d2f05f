package client

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol"
)

// puppet is a server at the other end of a pipe that greets, reads whatever comes, and answers what it is told to.
type puppet struct {
	conn  net.Conn
	asked chan request
}

// puppeteer connects a client and a puppet by a pipe, in the bubble of synctest, whose time goes on only while all wait.
func puppeteer(t *testing.T, o Options) (*Client, *puppet) {
	ours, theirs := net.Pipe()
	p := &puppet{theirs, make(chan request, 1000)}
	go func() {
		defer close(p.asked)
		for {
			q, ok := readRequest(theirs)
			if !ok {
				return
			}
			if q.Opcode == protocol.OpHello {
				theirs.Write(helloAnswer.AppendTo(nil, q.ID))
				continue
			}
			p.asked <- q
		}
	}()
	c, err := handshake(t.Context(), ours, "puppet", o)
	require.NoError(t, err)
	t.Cleanup(func() {
		c.Close()
		theirs.Close()
	})
	return c, p
}

func (p *puppet) answer(q request) { p.conn.Write(echo(q)) }

func broke(c *Client) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

func get(key string) func([]byte, uint32) []byte {
	return protocol.Get{Key: []byte(key), WithMeta: true}.AppendTo
}

// A request that runs into the Timeout, and nothing at all came since it was sent: the connection is broken at once,
// and whoever else waits learns of it.
func TestSilenceBreaksTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := puppeteer(t, Options{Timeout: 30 * time.Second})
		began := time.Now()
		first := c.Start(t.Context(), protocol.Set{}.AppendTo)
		time.Sleep(10 * time.Second)
		read, write := c.Start(t.Context(), get("k")), c.Start(t.Context(), protocol.Set{}.AppendTo)

		_, _, err := first.Wait(t.Context())
		assert.Equal(t, 30*time.Second, time.Since(began))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorIs(t, err, ErrUnknown)
		assert.True(t, broke(c))
		_, _, err = read.Wait(t.Context())
		assert.ErrorIs(t, err, ErrClosed)
		assert.ErrorContains(t, err, "nothing came from the server for 30s")
		assert.NotErrorIs(t, err, ErrUnknown)
		_, _, err = write.Wait(t.Context())
		assert.ErrorIs(t, err, ErrClosed)
		assert.ErrorIs(t, err, ErrUnknown)
		_, err = c.Get(t.Context(), nil)
		assert.ErrorIs(t, err, ErrClosed)
		assert.Equal(t, 30*time.Second, time.Since(began), "the others do not wait for their own time")
	})
}

// A connection over which something came since the request was sent stays: the answer to another, or a part of its own.
func TestLateIsNotSilent(t *testing.T) {
	for _, comes := range []string{"another answer", "the beginning of an answer"} {
		t.Run(comes, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := puppeteer(t, Options{Timeout: 30 * time.Second})
				first := c.Start(t.Context(), get("first"))
				q := <-p.asked
				time.Sleep(10 * time.Second)
				if comes == "another answer" {
					late := c.Start(t.Context(), get("late"))
					time.Sleep(10 * time.Second)
					p.answer(q)
					_, _, err := first.Wait(t.Context())
					require.NoError(t, err)
					_, _, err = late.Wait(t.Context())
					require.ErrorIs(t, err, context.DeadlineExceeded)
					p.answer(<-p.asked)
				} else {
					answer := echo(q)
					p.conn.Write(answer[:5])
					_, _, err := first.Wait(t.Context())
					require.ErrorIs(t, err, context.DeadlineExceeded)
					p.conn.Write(answer[5:])
				}
				synctest.Wait()
				assert.False(t, broke(c))
				go func() { p.answer(<-p.asked) }()
				v, err := c.Get(t.Context(), []byte("next"))
				require.NoError(t, err)
				assert.Equal(t, "next", string(v.Data))
			})
		})
	}
}

// Contexts give less time than the connection has. One of them breaks it only after a second of silence, in which all
// may run out of time.
func TestImpatientContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := puppeteer(t, Options{Timeout: 30 * time.Second})
		try := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := c.Get(ctx, nil)
			return err
		}
		for range 19 {
			require.ErrorIs(t, try(), context.DeadlineExceeded)
			require.False(t, broke(c))
		}
		for range 19 {
			p.answer(<-p.asked)
		}
		synctest.Wait()

		began := time.Now()
		for range 20 {
			require.False(t, broke(c))
			require.ErrorIs(t, try(), context.DeadlineExceeded)
		}
		assert.Equal(t, time.Second, time.Since(began))
		assert.True(t, broke(c))
		assert.ErrorIs(t, try(), ErrClosed)
	})
}

// Silence is no fault where nobody waits for an answer, and whoever is not interested any more has not been kept waiting.
func TestSilenceWithoutNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := puppeteer(t, Options{Timeout: 30 * time.Second})
		time.Sleep(time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		k := c.Start(ctx, get("k"))
		time.AfterFunc(10*time.Second, cancel)
		_, _, err := k.Wait(ctx)
		assert.ErrorIs(t, err, context.Canceled)
		assert.False(t, broke(c))

		p.answer(<-p.asked)
		synctest.Wait()
		short, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer stop()
		_, err = c.Get(short, nil)
		assert.ErrorIs(t, err, context.DeadlineExceeded, "it waited for 100 ms, after a long time in which nothing was asked")
		assert.False(t, broke(c))
	})
}

// A server that takes nothing: what waits for room runs out of time too.
func TestSilenceWhileThereIsNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go func() {
			q, _ := readRequest(theirs)
			theirs.Write(helloAnswer.AppendTo(nil, q.ID))
		}()
		c, err := handshake(t.Context(), ours, "puppet", Options{})
		require.NoError(t, err)
		defer c.Close()
		set := protocol.Set{Value: make([]byte, maxFrames)}
		c.Start(t.Context(), set.AppendTo) // the writer takes it and is stuck
		synctest.Wait()
		c.Start(t.Context(), set.AppendTo) // there is no room behind it
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err = c.Set(ctx, set)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NotErrorIs(t, err, ErrUnknown)
		assert.True(t, broke(c))
	})
}

// Any number of goroutines may wait for one call, with an answer, without one, and when it is too late.
func TestManyWaitForOneCall(t *testing.T) {
	const n = 20
	each := func(ctx context.Context, k *Call, check func(h protocol.Header, body []byte, err error)) {
		var all sync.WaitGroup
		for range n {
			all.Go(func() { check(k.Wait(ctx)) })
		}
		all.Wait()
	}
	synctest.Test(t, func(t *testing.T) {
		c, p := puppeteer(t, Options{Timeout: 30 * time.Second})
		k := c.Start(t.Context(), get("k"))
		time.AfterFunc(time.Second, func() { p.answer(<-p.asked) })
		for range 2 { // while it is under way, and later
			each(t.Context(), k, func(h protocol.Header, body []byte, err error) {
				assert.NoError(t, err)
				assert.Equal(t, protocol.OpGet, h.Opcode)
				assert.Equal(t, "k", string(body[protocol.MetaSize:]))
			})
		}
		k = c.Start(t.Context(), protocol.Set{}.AppendTo)
		each(t.Context(), k, func(_ protocol.Header, _ []byte, err error) {
			assert.ErrorIs(t, err, ErrUnknown)
		})
		assert.True(t, broke(c))
		each(t.Context(), c.Start(t.Context(), get("k")),
			func(_ protocol.Header, _ []byte, err error) { assert.ErrorIs(t, err, ErrClosed) })
	})
}
