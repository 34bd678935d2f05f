package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/fakeserver"
)

// greeted is the script of a server that answers HELLO, reads one more request and then does as then says.
func greeted(then func(conn net.Conn, q request)) func(net.Conn) {
	return func(conn net.Conn) {
		hello, ok := readRequest(conn)
		if !ok {
			return
		}
		conn.Write(helloAnswer.AppendTo(nil, hello.ID))
		if q, ok := readRequest(conn); ok {
			then(conn, q)
		}
	}
}

// A server that breaks the protocol costs the connection: the read fails with ErrClosed, the write is unknown, and later
// calls fail at once.
func TestHostileServer(t *testing.T) {
	ping := func(q request, change func([]byte)) []byte {
		b := protocol.AppendResponse(nil, q.Opcode, protocol.StatusOK, q.ID, nil)
		change(b)
		return b
	}
	cases := map[string]func(request) []byte{
		"wrong id":           func(q request) []byte { return ping(q, func(b []byte) { b[11]++ }) },
		"wrong opcode":       func(q request) []byte { return ping(q, func(b []byte) { b[4] = byte(protocol.OpStats) }) },
		"opcode 0, OK":       func(q request) []byte { return ping(q, func(b []byte) { b[4] = 0; clear(b[8:]) }) },
		"reserved bits":      func(q request) []byte { return ping(q, func(b []byte) { b[7] = 1 }) },
		"length 0":           func(q request) []byte { return ping(q, func(b []byte) { clear(b[:4]) }) },
		"length 7":           func(q request) []byte { return ping(q, func(b []byte) { b[3] = 7 }) },
		"length 2^28":        func(q request) []byte { return ping(q, func(b []byte) { b[0] = 0x10 }) },
		"length 2^31":        func(q request) []byte { return ping(q, func(b []byte) { b[0] = 0x80 }) },
		"length 2^32-1":      func(q request) []byte { return ping(q, func(b []byte) { copy(b, "\xff\xff\xff\xff") }) },
		"the cap, then none": func(q request) []byte { return ping(q, func(b []byte) { copy(b, "\x0f\xff\xff\xff") }) },
		"HTTP":               func(request) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") },
		"nothing":            func(request) []byte { return nil },
		"conflict cut": func(q request) []byte {
			return protocol.AppendResponse(nil, q.Opcode, protocol.StatusConflict, q.ID, []byte{1})
		},
		"OK, malformed body": func(q request) []byte {
			return protocol.AppendResponse(nil, q.Opcode, protocol.StatusOK, q.ID, []byte{1})
		},
	}
	requests := map[string]struct {
		write bool
		do    func(context.Context, *Client) error
	}{
		"get": {false, func(ctx context.Context, c *Client) error { _, err := c.Get(ctx, nil); return err }},
		"mget": {false, func(ctx context.Context, c *Client) error {
			_, err := c.MGet(ctx, nil, nil)
			return err
		}},
		"ping":     {false, func(ctx context.Context, c *Client) error { return c.Ping(ctx, []byte("p")) }},
		"scan":     {false, func(ctx context.Context, c *Client) error { _, err := c.Scan(ctx, protocol.Scan{}); return err }},
		"history":  {false, func(ctx context.Context, c *Client) error { _, err := c.History(ctx, nil, 0); return err }},
		"stats":    {false, func(ctx context.Context, c *Client) error { _, err := c.Stats(ctx); return err }},
		"version":  {false, func(ctx context.Context, c *Client) error { _, err := c.GetVersion(ctx, nil, 1); return err }},
		"snapshot": {false, func(ctx context.Context, c *Client) error { _, err := c.Snapshot(ctx); return err }},
		"backup":   {false, func(ctx context.Context, c *Client) error { _, err := c.Backup(ctx, io.Discard); return err }},
		"cluster":  {false, func(ctx context.Context, c *Client) error { _, err := c.Cluster(ctx); return err }},
		"incr":     {true, func(ctx context.Context, c *Client) error { _, _, err := c.Incr(ctx, protocol.Incr{}); return err }},
		"expire": {true, func(ctx context.Context, c *Client) error {
			_, err := c.Expire(ctx, protocol.Expire{TTL: 1})
			return err
		}},
		"persist": {true, func(ctx context.Context, c *Client) error { _, err := c.Persist(ctx, protocol.Persist{}); return err }},
		"purge":   {true, func(ctx context.Context, c *Client) error { _, err := c.Purge(ctx, protocol.Purge{}); return err }},
		"member": {true, func(ctx context.Context, c *Client) error {
			return c.Member(ctx, protocol.Member{Change: protocol.MemberRemove, ID: 1})
		}},
		"set":      {true, func(ctx context.Context, c *Client) error { _, err := c.Set(ctx, protocol.Set{}); return err }},
		"mset":     {true, func(ctx context.Context, c *Client) error { _, err := c.MSet(ctx); return err }},
		"del":      {true, func(ctx context.Context, c *Client) error { _, _, err := c.Del(ctx); return err }},
		"txn":      {true, func(ctx context.Context, c *Client) error { _, err := c.Txn(ctx, protocol.Txn{}); return err }},
		"rollback": {true, func(ctx context.Context, c *Client) error { _, err := c.Rollback(ctx, nil, 1); return err }},
	}
	for name, answer := range cases {
		t.Run(name, func(t *testing.T) {
			addr := fakeserver.Start(t, greeted(func(conn net.Conn, q request) { conn.Write(answer(q)) }))
			for kind, r := range requests {
				c := dial(t, addr, Options{})
				err := r.do(soon(t), c)
				assert.ErrorIs(t, err, ErrClosed, kind)
				assert.Equal(t, r.write, errors.Is(err, ErrUnknown), "%s: %v", kind, err)
				var refused *protocol.Error
				assert.False(t, errors.As(err, &refused), "%s: %v is no answer of the server", kind, err)

				err = r.do(soon(t), c)
				assert.ErrorIs(t, err, ErrClosed, kind)
				assert.NotErrorIs(t, err, ErrUnknown, "%s: never sent", kind)
			}
		})
	}
}

// The answer is cut at every byte; once whole, it counts.
func TestAnswerCutAtEveryByte(t *testing.T) {
	body := append(protocol.AppendMeta(nil, protocol.Meta{Version: 1, Expiry: 2}), "value"...)
	whole := protocol.HeaderSize + len(body)
	for size := range whole + 1 {
		addr := fakeserver.Start(t, greeted(func(conn net.Conn, q request) {
			conn.Write(protocol.AppendResponse(nil, q.Opcode, protocol.StatusOK, q.ID, body)[:size])
		}))
		c := dial(t, addr, Options{})
		v, err := c.Get(soon(t), []byte("k"))
		if size < whole {
			require.ErrorIs(t, err, ErrClosed, "cut at %d", size)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, "value", string(v.Data))
	}
}

func TestAnswerByteByByte(t *testing.T) {
	addr := fakeserver.Start(t, func(conn net.Conn) {
		slow := &oneByOne{conn}
		answering(echo)(slow)
	})
	c := dial(t, addr, Options{})
	for _, key := range []string{"", "k", "a longer key"} {
		v, err := c.Get(soon(t), []byte(key))
		require.NoError(t, err)
		require.Equal(t, key, string(v.Data))
	}
}

type oneByOne struct{ net.Conn }

func (c *oneByOne) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// Whatever length an answer claims, memory is taken for what arrived.
func TestMemoryGrowsWithWhatArrived(t *testing.T) {
	claimed := make(chan struct{})
	release := make(chan struct{})
	addr := fakeserver.Start(t, greeted(func(conn net.Conn, q request) {
		b := protocol.AppendHeader(nil, q.Opcode, 0, q.ID, 1<<28-9)
		conn.Write(append(b, make([]byte, 1000)...))
		close(claimed)
		<-release
	}))
	c := dial(t, addr, Options{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	k := c.Start(t.Context(), protocol.Get{}.AppendTo)
	<-claimed
	close(release)
	_, _, err := k.Wait(soon(t))
	require.ErrorIs(t, err, ErrClosed)
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20))
}

func TestLargeAnswer(t *testing.T) {
	value := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB: several times what is allocated at first
	addr := fakeserver.Start(t, answering(func(q request) []byte {
		return protocol.AppendResponse(nil, q.Opcode, protocol.StatusOK, q.ID,
			append(protocol.AppendMeta(nil, protocol.Meta{}), value...))
	}))
	c := dial(t, addr, Options{})
	v, err := c.Get(soon(t), nil)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(value, v.Data))
}

func TestResetBeforeAnswer(t *testing.T) {
	addr := fakeserver.Start(t, greeted(func(conn net.Conn, _ request) { conn.(*net.TCPConn).SetLinger(0) }))
	c := dial(t, addr, Options{})
	_, err := c.Set(soon(t), protocol.Set{})
	assert.ErrorIs(t, err, ErrUnknown)
	assert.ErrorIs(t, err, ErrClosed)
}

// All that wait learn of it when the connection ends, each by what it asked.
func TestEveryCallFails(t *testing.T) {
	addr := fakeserver.Start(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		hello, _ := readRequest(in)
		conn.Write(helloAnswer.AppendTo(nil, hello.ID))
		for range 20 {
			readRequest(in)
		}
	})
	c := dial(t, addr, Options{})
	var gets, sets []*Call
	for range 10 {
		gets = append(gets, c.Start(t.Context(), protocol.Get{}.AppendTo))
		sets = append(sets, c.Start(t.Context(), protocol.Set{}.AppendTo))
	}
	for _, k := range gets {
		_, _, err := k.Wait(soon(t))
		assert.ErrorIs(t, err, ErrClosed)
		assert.NotErrorIs(t, err, ErrUnknown)
	}
	for range 2 { // and again for who asks again
		for _, k := range sets {
			_, _, err := k.Wait(soon(t))
			assert.ErrorIs(t, err, ErrUnknown)
		}
	}
}

// A server that says why it ends the connection is quoted, to whoever waits. Where it was asked to say so, and knows
// what that is, the writes that it has not answered were not applied; else they are unknown.
func TestGoodbyeWhileWaiting(t *testing.T) {
	goodbye := protocol.AppendError(nil, 0, 0, &protocol.Error{Status: protocol.StatusUnavailable, Message: "shutting down"})
	for name, tt := range map[string]struct {
		older, answers bool
		last           []byte
		unknown        bool
	}{
		"goodbye":                      {last: goodbye},
		"goodbye behind an answer":     {last: goodbye, answers: true},
		"an older server's":            {last: goodbye, older: true, unknown: true},
		"goodbye that is cut":          {last: goodbye[:len(goodbye)-1], unknown: true},
		"a header without its message": {last: goodbye[:protocol.HeaderSize], unknown: true},
		"no word":                      {unknown: true},
	} {
		t.Run(name, func(t *testing.T) {
			var greetings atomic.Int32
			addr := fakeserver.Start(t, func(conn net.Conn) {
				for sets := 0; sets < 2; {
					q, ok := readRequest(conn)
					switch {
					case !ok:
						return
					case q.Opcode == protocol.OpHello && tt.older && q.Flags != 0:
						conn.Write(protocol.AppendError(nil, q.Opcode, q.ID, protocol.ErrBadRequest))
					case q.Opcode == protocol.OpHello:
						greetings.Add(1) // before the client can look
						conn.Write(helloAnswer.AppendTo(nil, q.ID))
					case q.Opcode == protocol.OpSet:
						if sets++; sets == 1 && tt.answers {
							conn.Write(protocol.AppendVersion(nil, q.Opcode, q.ID, 2))
						}
					}
				}
				conn.Write(tt.last)
			})
			c := dial(t, addr, Options{})
			require.EqualValues(t, 1, greetings.Load())
			var sets []*Call
			for range 2 {
				sets = append(sets, c.Start(t.Context(), protocol.Set{}.AppendTo))
			}
			get := c.Start(t.Context(), protocol.Get{}.AppendTo)
			if tt.answers {
				_, _, err := sets[0].Wait(soon(t))
				require.NoError(t, err)
				sets = sets[1:]
			}
			for _, k := range append(sets, get) {
				_, _, err := k.Wait(soon(t))
				assert.ErrorIs(t, err, ErrClosed)
				assert.Equal(t, tt.unknown && k != get, errors.Is(err, ErrUnknown), err)
				if len(tt.last) == len(goodbye) {
					assert.ErrorIs(t, err, protocol.ErrUnavailable)
					assert.ErrorContains(t, err, "shutting down")
				}
			}
		})
	}
}

// An answer to nothing: the connection is of no more use.
func TestAnswerWithoutRequest(t *testing.T) {
	sent := make(chan struct{})
	addr := fakeserver.Start(t, func(conn net.Conn) {
		hello, _ := readRequest(conn)
		b := helloAnswer.AppendTo(nil, hello.ID)
		conn.Write(protocol.AppendResponse(b, protocol.OpPing, protocol.StatusOK, 9, nil))
		close(sent)
		io.Copy(io.Discard, conn)
	})
	c := dial(t, addr, Options{})
	<-sent
	<-c.Done()
	assert.ErrorIs(t, c.Ping(soon(t), nil), ErrClosed)
	assert.ErrorIs(t, c.Ping(soon(t), nil), protocol.ErrMalformed)
}

func TestDialRefused(t *testing.T) {
	refusing := func(status protocol.Status) func(net.Conn) {
		return func(conn net.Conn) {
			hello, _ := readRequest(conn)
			conn.Write(protocol.AppendError(nil, hello.Opcode, hello.ID, &protocol.Error{Status: status, Message: "because"}))
		}
	}
	goodbye := protocol.AppendError(nil, 0, 0, &protocol.Error{Status: protocol.StatusUnavailable,
		Message: "256 connections are open, no more are taken"})
	for name, tt := range map[string]struct {
		script func(net.Conn)
		want   error
	}{
		"wrong secret":            {refusing(protocol.StatusUnauthenticated), protocol.ErrUnauthenticated},
		"bad request":             {refusing(protocol.StatusBadRequest), protocol.ErrBadRequest},
		"no such opcode":          {refusing(protocol.StatusUnknownOpcode), protocol.ErrUnknownOpcode},
		"too many, at once":       {func(conn net.Conn) { conn.Write(goodbye) }, protocol.ErrUnavailable},
		"too many, HELLO read":    {func(conn net.Conn) { readRequest(conn); conn.Write(goodbye) }, protocol.ErrUnavailable},
		"closed":                  {func(net.Conn) {}, ErrClosed},
		"rubbish":                 {func(conn net.Conn) { conn.Write([]byte("220 mail.example ESMTP\r\n")); readRequest(conn) }, protocol.ErrMalformed},
		"answer cut":              {func(conn net.Conn) { q, _ := readRequest(conn); conn.Write(helloAnswer.AppendTo(nil, q.ID)[:20]) }, ErrClosed},
		"answer without instance": {func(conn net.Conn) { q, _ := readRequest(conn); conn.Write(okBody(q, 0, 1)) }, protocol.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Dial(soon(t), fakeserver.Start(t, tt.script), Options{User: "anna", Secret: "s3cret"})
			require.ErrorIs(t, err, tt.want)
			assert.Nil(t, c)
			assert.NotContains(t, err.Error(), "s3cret")
		})
	}
	t.Run("version", func(t *testing.T) {
		_, err := Dial(soon(t), fakeserver.Start(t, func(conn net.Conn) {
			q, _ := readRequest(conn)
			conn.Write(protocol.HelloResponse{Version: 2}.AppendTo(nil, q.ID))
		}), Options{})
		assert.ErrorContains(t, err, "version 2")
	})
	t.Run("nobody there", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		l.Close()
		_, err = Dial(soon(t), l.Addr().String(), Options{})
		assert.ErrorContains(t, err, l.Addr().String())
	})
	t.Run("silence", func(t *testing.T) {
		_, err := Dial(soon(t), fakeserver.Start(t, func(conn net.Conn) { io.Copy(io.Discard, conn) }),
			Options{Timeout: 20 * time.Millisecond})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
	t.Run("credentials too long", func(t *testing.T) {
		_, err := Dial(soon(t), "127.0.0.1:1", Options{User: string(make([]byte, 1<<16))})
		assert.ErrorContains(t, err, "65535")
	})
}

func okBody(q request, body ...byte) []byte {
	return protocol.AppendResponse(nil, q.Opcode, protocol.StatusOK, q.ID, body)
}

// Answers that are well-formed and do not fit what was asked.
func TestAnswersThatDoNotFit(t *testing.T) {
	answer := func(q request) []byte {
		switch q.Opcode {
		case protocol.OpMGet:
			return okBody(q, 0, 0, 0, 0)
		case protocol.OpDel:
			return protocol.AppendDeleted(nil, q.ID, 3, 1)
		case protocol.OpTxn:
			return okBody(q, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, byte(protocol.TxnSet))
		case protocol.OpBackup: // not the last, and yet empty: that could go on forever
			return protocol.BackupResponse{Handle: 1}.AppendTo(nil, q.ID)
		}
		return okBody(q, 'x')
	}
	addr := fakeserver.Start(t, answering(answer))
	key := []byte("k")
	for name, do := range map[string]func(*Client) error{
		"mget": func(c *Client) error { _, err := c.MGet(soon(t), key); return err },
		"del":  func(c *Client) error { _, _, err := c.Del(soon(t), key, key); return err },
		"txn":  func(c *Client) error { _, err := c.Txn(soon(t), protocol.Txn{}); return err },
		"txn kinds": func(c *Client) error {
			_, err := c.Txn(soon(t), protocol.Txn{Ops: []protocol.TxnOp{{Kind: protocol.TxnDel}}})
			return err
		},
		"ping":   func(c *Client) error { return c.Ping(soon(t), key) },
		"backup": func(c *Client) error { _, err := c.Backup(soon(t), io.Discard); return err },
	} {
		err := do(dial(t, addr, Options{}))
		assert.ErrorIs(t, err, protocol.ErrMalformed, name)
		assert.ErrorIs(t, err, ErrClosed, name)
	}
}

// FuzzHostileServer lets a server say anything after the client's HELLO was answered: no call hangs, panics, or takes
// more memory than was sent.
func FuzzHostileServer(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	good := protocol.AppendResponse(nil, protocol.OpGet, 0, 2, make([]byte, 20))
	good = protocol.AppendVersion(good, protocol.OpSet, 3, 9)
	good = protocol.AppendResponse(good, protocol.OpMGet, 0, 4, []byte{0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff})
	good = protocol.AppendError(good, protocol.OpTxn, 5, &protocol.Error{Status: protocol.StatusConflict, Version: 3})
	good = protocol.ScanPage{Items: []protocol.ScanItem{{Key: []byte("k")}}}.AppendTo(good, 6, false, false)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(protocol.AppendError(nil, 0, 0, protocol.ErrUnavailable))
	f.Fuzz(func(t *testing.T, answers []byte) {
		ours, theirs := net.Pipe()
		server := make(chan struct{})
		go func() {
			defer close(server)
			defer theirs.Close()
			frame, rest := helloAnswer.AppendTo(nil, 1), answers
			for whole := true; whole; {
				if _, ok := readRequest(theirs); !ok {
					return
				}
				if _, err := theirs.Write(frame); err != nil {
					return
				}
				frame, rest, whole = cutFrame(rest)
			}
			theirs.Write(frame)
		}()
		c := newClient(ours, "pipe", 0)
		ctx := context.Background()
		if err := c.greet(ctx, Options{}); err == nil {
			key := []byte("k")
			c.Get(ctx, key)
			c.Set(ctx, protocol.Set{Key: key})
			c.MGet(ctx, key)
			c.Txn(ctx, protocol.Txn{Conditions: []protocol.Condition{{Key: key}}})
			c.Scan(ctx, protocol.Scan{})
			c.Stats(ctx)
			c.History(ctx, key, 0)
		}
		c.Close()
		<-server
	})
}

// cutFrame takes the first frame off b; where that is none it is not whole, but all of b.
func cutFrame(b []byte) (frame, rest []byte, whole bool) {
	if len(b) >= protocol.HeaderSize {
		if h := protocol.ParseHeader(b); protocol.CheckLength(h.Length) == nil && h.Size() <= len(b) {
			return b[:h.Size()], b[h.Size():], true
		}
	}
	return b, nil, false
}
