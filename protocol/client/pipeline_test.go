package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/fakeserver"
)

func TestManyGoroutines(t *testing.T) {
	c := dial(t, fakeserver.Start(t, answering(echo)), Options{Timeout: time.Minute})
	var all sync.WaitGroup
	for g := range 50 {
		all.Go(func() {
			for i := range 200 {
				key := fmt.Appendf(nil, "%d-%d", g, i)
				v, err := c.Get(t.Context(), key)
				if !assert.NoError(t, err) || !assert.Equal(t, string(key), string(v.Data)) {
					return
				}
			}
		})
	}
	all.Wait()
}

// What a call returned stays as it is, whatever comes later.
func TestAnswersAreTheCallersOwn(t *testing.T) {
	c := dial(t, fakeserver.Start(t, answering(echo)), Options{})
	var got []protocol.Value
	for i := range 100 {
		v, err := c.Get(soon(t), []byte(strconv.Itoa(i)))
		require.NoError(t, err)
		got = append(got, v)
	}
	for i, v := range got {
		assert.Equal(t, strconv.Itoa(i), string(v.Data))
	}
}

func TestStartKeepsTheOrder(t *testing.T) {
	c := dial(t, fakeserver.Start(t, answering(echo)), Options{})
	var calls []*Call
	for i := range 1000 {
		payload := []byte(strconv.Itoa(i))
		calls = append(calls, c.Start(t.Context(), func(dst []byte, id uint32) []byte {
			return append(protocol.AppendHeader(dst, protocol.OpPing, 0, id, len(payload)), payload...)
		}))
	}
	for i, k := range calls {
		h, body, err := k.Wait(soon(t))
		require.NoError(t, err)
		require.Equal(t, protocol.OpPing, h.Opcode)
		require.Equal(t, strconv.Itoa(i), string(body))
	}
	again, body, err := calls[7].Wait(soon(t))
	require.NoError(t, err)
	assert.Equal(t, protocol.StatusOK, again.Status())
	assert.Equal(t, "7", string(body))
}

// gate is a server that answers no request until open is called, and then all of them.
func gate() (script func(net.Conn), open func()) {
	opened := make(chan struct{})
	script = func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for first := true; ; first = false {
			q, ok := readRequest(in)
			if !ok {
				return
			}
			if first {
				conn.Write(helloAnswer.AppendTo(nil, q.ID))
				continue
			}
			<-opened
			conn.Write(echo(q))
		}
	}
	return script, sync.OnceFunc(func() { close(opened) })
}

func TestCancelKeepsTheConnection(t *testing.T) {
	script, open := gate()
	addr := fakeserver.Start(t, script)
	t.Cleanup(open)
	c := dial(t, addr, Options{})

	ctx, cancel := context.WithCancel(t.Context())
	reads := make(chan error, 1)
	go func() { _, err := c.Get(ctx, []byte("a")); reads <- err }()
	writes := make(chan error, 1)
	go func() { _, err := c.Set(ctx, protocol.Set{}); writes <- err }()
	later := c.Start(t.Context(), protocol.Get{Key: []byte("b"), WithMeta: true}.AppendTo)
	require.Eventually(t, func() bool { return started(c) == 4 }, 10*time.Second, time.Millisecond) // HELLO and these three
	cancel()
	err := <-reads
	assert.ErrorIs(t, err, context.Canceled)
	assert.NotErrorIs(t, err, ErrUnknown)
	assert.NotErrorIs(t, err, ErrClosed)
	err = <-writes
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorIs(t, err, ErrUnknown)
	assert.NotErrorIs(t, err, ErrClosed)

	_, err = c.Set(ctx, protocol.Set{})
	assert.ErrorIs(t, err, context.Canceled)
	assert.NotErrorIs(t, err, ErrUnknown, "never sent")

	open()
	_, body, err := later.Wait(soon(t))
	require.NoError(t, err)
	assert.Equal(t, "b", string(body[protocol.MetaSize:]))
	v, err := c.Get(soon(t), []byte("c"))
	require.NoError(t, err)
	assert.Equal(t, "c", string(v.Data))
}

func started(c *Client) uint64 {
	c.pipe.mu.Lock()
	defer c.pipe.mu.Unlock()
	return c.pipe.started
}

// A server that reads nothing makes Start wait, so that what is queued stays bounded; what was never sent is not unknown.
func TestBackpressure(t *testing.T) {
	reading := make(chan struct{})
	addr := fakeserver.Start(t, func(conn net.Conn) {
		hello, _ := readRequest(conn)
		conn.Write(helloAnswer.AppendTo(nil, hello.ID))
		<-reading
		answering(echo)(conn)
	})
	read := sync.OnceFunc(func() { close(reading) })
	t.Cleanup(read)
	c := dial(t, addr, Options{})
	q := protocol.Set{Key: []byte("k"), Value: make([]byte, 256<<10)}
	ctx, cancel := context.WithCancel(t.Context())
	calls := make(chan *Call)
	go func() {
		defer close(calls)
		for ctx.Err() == nil {
			calls <- c.Start(ctx, q.AppendTo)
		}
	}()
	var queued []*Call
	for waiting := false; !waiting; {
		select {
		case k := <-calls:
			queued = append(queued, k)
			require.Less(t, len(queued), 1000, "nothing makes Start wait")
		case <-time.After(20 * time.Millisecond):
			c.pipe.mu.Lock()
			waiting = c.pipe.blocked
			c.pipe.mu.Unlock()
		}
	}
	c.pipe.mu.Lock()
	assert.Less(t, len(c.pipe.frames), maxFrames+300<<10)
	c.pipe.mu.Unlock()
	cancel()
	refused := <-calls
	_, _, err := refused.Wait(soon(t))
	assert.ErrorIs(t, err, context.Canceled)
	assert.NotErrorIs(t, err, ErrUnknown, "it was never queued")
	for range calls {
	}
	read()
	for _, k := range queued {
		_, _, err := k.Wait(soon(t))
		require.NoError(t, err)
	}
}

// Small requests to a server that does not answer are bounded by their number.
func TestUnansweredAreBounded(t *testing.T) {
	script, open := gate()
	addr := fakeserver.Start(t, script)
	t.Cleanup(open)
	c := dial(t, addr, Options{})
	const n = maxWaiting + 1000
	answered := make(chan error, 1)
	go func() {
		var calls []*Call
		for range n {
			calls = append(calls, c.Start(context.Background(), bare(protocol.OpPing)))
		}
		for _, k := range calls {
			if _, _, err := k.Wait(context.Background()); err != nil {
				answered <- err
				return
			}
		}
		answered <- nil
	}()
	require.Eventually(t, func() bool {
		c.pipe.mu.Lock()
		defer c.pipe.mu.Unlock()
		return c.pipe.blocked && len(c.pipe.waiting) == maxWaiting
	}, 20*time.Second, time.Millisecond)
	open()
	require.NoError(t, <-answered)
}

// Close: a write that may have been sent is unknown, one that is still queued surely was not.
func TestCloseSaysWhatWasSent(t *testing.T) {
	addr := fakeserver.Start(t, func(conn net.Conn) {
		hello, _ := readRequest(conn)
		conn.Write(helloAnswer.AppendTo(nil, hello.ID))
		<-t.Context().Done() // reads nothing more
	})
	c := dial(t, addr, Options{})
	q := protocol.Set{Value: make([]byte, 16<<20)} // more than any socket buffer holds: the writer is stuck in it
	stuck := c.Start(t.Context(), q.AppendTo)
	require.Eventually(t, func() bool {
		c.pipe.mu.Lock()
		defer c.pipe.mu.Unlock()
		return c.pipe.sent == 2
	}, 10*time.Second, time.Millisecond)
	queued := c.Start(t.Context(), protocol.Set{}.AppendTo)
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	_, _, err := stuck.Wait(t.Context())
	assert.ErrorIs(t, err, ErrUnknown)
	assert.ErrorIs(t, err, ErrClosed)
	_, _, err = queued.Wait(t.Context())
	assert.ErrorIs(t, err, ErrClosed)
	assert.NotErrorIs(t, err, ErrUnknown)
}

func TestStatusesBecomeErrors(t *testing.T) {
	addr := fakeserver.Start(t, answering(func(q request) []byte {
		return protocol.AppendError(nil, q.Opcode, q.ID,
			&protocol.Error{Status: protocol.Status(q.body[0]), Message: "because", Version: 9})
	}))
	c := dial(t, addr, Options{})
	for status, want := range map[protocol.Status]error{
		protocol.StatusNotFound: protocol.ErrNotFound, protocol.StatusConflict: protocol.ErrConflict,
		protocol.StatusTooLarge: protocol.ErrTooLarge, protocol.StatusOutOfMemory: protocol.ErrOutOfMemory,
		protocol.StatusUnavailable: protocol.ErrUnavailable, protocol.StatusMoved: protocol.ErrMoved, 200: &protocol.Error{Status: 200},
	} {
		_, err := c.Get(soon(t), []byte{byte(status)})
		assert.ErrorIs(t, err, want)
	}
	_, err := c.Rollback(soon(t), nil, uint64(protocol.StatusConflict)<<56)
	var conflict *protocol.Error
	require.ErrorAs(t, err, &conflict)
	assert.Equal(t, uint64(9), conflict.Version)
	assert.NotErrorIs(t, err, ErrUnknown, "the server said what became of it")
	_, err = c.GetVersion(soon(t), nil, 0)
	assert.ErrorIs(t, err, protocol.ErrNotFound)
}

// What no server would take is refused here, and the connection is none the worse.
func TestNotSent(t *testing.T) {
	addr := fakeserver.Start(t, answering(echo))
	c := dial(t, addr, Options{})
	c.hello.Limit = 1000
	_, err := c.Set(soon(t), protocol.Set{Value: make([]byte, 1000)})
	assert.ErrorIs(t, err, protocol.ErrTooLarge)
	assert.NotErrorIs(t, err, ErrUnknown)
	_, err = c.checkFrame(make([]byte, 1<<28+4), 1)
	assert.ErrorIs(t, err, protocol.ErrTooLarge)
	_, err = c.Scan(soon(t), protocol.Scan{Cursor: make([]byte, 1<<16)})
	assert.ErrorIs(t, err, protocol.ErrBadRequest)
	for _, frame := range []func([]byte, uint32) []byte{
		func(dst []byte, _ uint32) []byte { return dst },
		func(dst []byte, id uint32) []byte { return protocol.Get{}.AppendTo(dst, id+1) },
		func(dst []byte, id uint32) []byte { return append(protocol.Get{}.AppendTo(dst, id), 0) },
		func(dst []byte, id uint32) []byte {
			return protocol.Get{}.AppendTo(protocol.Get{}.AppendTo(dst, id), id)
		},
	} {
		_, _, err := c.Start(soon(t), frame).Wait(soon(t))
		assert.ErrorContains(t, err, "not sent")
	}
	assert.NoError(t, c.Ping(soon(t), []byte("p")))
}

func TestBackup(t *testing.T) {
	chunks := []string{"one", "two", "three", ""}
	addr := fakeserver.Start(t, answering(func(q request) []byte {
		b, err := protocol.ParseBackup(q.body)
		if err != nil || b.Handle >= uint64(len(chunks)) {
			return protocol.AppendError(nil, q.Opcode, q.ID, protocol.ErrBadRequest)
		}
		return protocol.BackupResponse{Handle: (b.Handle + 1) % uint64(len(chunks)),
			Chunk: []byte(chunks[b.Handle])}.AppendTo(nil, q.ID)
	}))
	c := dial(t, addr, Options{})
	var out bytes.Buffer
	n, err := c.Backup(soon(t), &out)
	require.NoError(t, err)
	assert.Equal(t, "onetwothree", out.String())
	assert.Equal(t, int64(out.Len()), n)
	_, err = c.Backup(soon(t), failing{})
	assert.ErrorIs(t, err, errFull)
}

var errFull = errors.New("full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestTLS(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	cert := web.TLS.Certificates[0]
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	web.Close()
	addr := fakeserver.Start(t, func(conn net.Conn) {
		answering(echo)(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}}))
	})
	c := dial(t, addr, Options{TLS: &tls.Config{RootCAs: roots}})
	v, err := c.Get(soon(t), []byte("k"))
	require.NoError(t, err)
	assert.Equal(t, "k", string(v.Data))
	assert.Equal(t, addr, c.Addr())
	assert.Equal(t, helloAnswer, c.Hello())

	_, err = Dial(soon(t), addr, Options{TLS: &tls.Config{}})
	assert.ErrorAs(t, err, new(*tls.CertificateVerificationError))
}
