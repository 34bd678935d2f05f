package client_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
	"kv/protocol/client"
	"kv/store"
)

func connect(t *testing.T, s *nettest.Server, o client.Options) *client.Client {
	t.Helper()
	addr := s.Addr
	if s.Network == "unix" {
		addr = "unix:" + addr
		_, err := client.Dial(t.Context(), addr, client.Options{TLS: new(tls.Config)})
		require.ErrorContains(t, err, "no TLS over a Unix socket")
	}
	c, err := client.Dial(t.Context(), addr, o)
	require.NoError(t, err)
	assert.Equal(t, addr, c.Addr())
	t.Cleanup(func() { c.Close() })
	return c
}

// Every method, against the real server, by TCP and by a Unix socket.
func TestAgainstTheServer(t *testing.T) {
	for _, unix := range []bool{false, true} {
		t.Run(fmt.Sprint("unix=", unix), func(t *testing.T) { testAgainstTheServer(t, unix) })
	}
}

func testAgainstTheServer(t *testing.T, unix bool) {
	s := nettest.Start(t, nettest.Options{Unix: unix, Store: store.Options{History: 3},
		Config: netserver.Config{Name: "kv test", Limit: 1 << 20}})
	c := connect(t, s, client.Options{Timeout: nettest.Timeout})
	ctx := t.Context()
	a, b, absent := []byte("a"), []byte("b"), []byte("absent")

	assert.Equal(t, "kv test", c.Hello().Server)
	assert.Equal(t, uint32(1<<20), c.Hello().Limit)
	require.NoError(t, c.Ping(ctx, []byte("payload")))
	require.NoError(t, c.Ping(ctx, nil))

	v1, err := c.Set(ctx, protocol.Set{Key: a, Value: []byte("1"), Conditional: true})
	require.NoError(t, err)
	_, err = c.Set(ctx, protocol.Set{Key: a, Conditional: true})
	var conflict *protocol.Error
	require.ErrorAs(t, err, &conflict)
	assert.Equal(t, v1, conflict.Version)
	assert.NotErrorIs(t, err, client.ErrUnknown)

	v2, err := c.MSet(ctx, protocol.Pair{Key: a, Value: []byte("2")}, protocol.Pair{Key: b})
	require.NoError(t, err)
	got, err := c.Get(ctx, a)
	require.NoError(t, err)
	assert.Equal(t, protocol.Value{Found: true, Data: []byte("2"), Meta: protocol.Meta{Version: v2}}, got)
	_, err = c.Get(ctx, absent)
	assert.ErrorIs(t, err, protocol.ErrNotFound)
	values, err := c.MGet(ctx, b, absent, a)
	require.NoError(t, err)
	assert.Equal(t, []protocol.Value{{Found: true, Data: []byte{}, Meta: protocol.Meta{Version: v2}}, {}, got}, values)

	got, err = c.GetVersion(ctx, a, v1)
	require.NoError(t, err)
	assert.Equal(t, "1", string(got.Data))
	revisions, err := c.History(ctx, a, 0)
	require.NoError(t, err)
	require.Len(t, revisions, 2)
	assert.Equal(t, v2, revisions[0].Version)
	v3, err := c.Rollback(ctx, a, v1)
	require.NoError(t, err)
	assert.Greater(t, v3, v2)
	_, err = c.Rollback(ctx, a, v3+1)
	assert.ErrorIs(t, err, protocol.ErrNotFound)

	alone, err := c.Cluster(ctx)
	require.NoError(t, err)
	assert.Zero(t, alone)
	assert.ErrorIs(t, c.Member(ctx, protocol.Member{Change: protocol.MemberRemove, ID: 1}), protocol.ErrBadRequest)
	stale := connect(t, s, client.Options{MaxStale: time.Second})
	require.NoError(t, stale.Ping(ctx, nil))

	n := []byte("n")
	sum, vn, err := c.Incr(ctx, protocol.Incr{Key: n, By: -7, TTL: 3600_000})
	require.NoError(t, err)
	assert.EqualValues(t, -7, sum)
	got, err = c.Get(ctx, n)
	require.NoError(t, err)
	assert.Equal(t, vn, got.Version)
	assert.Equal(t, "-7", string(got.Data))
	assert.NotZero(t, got.Expiry)
	_, _, err = c.Incr(ctx, protocol.Incr{Key: n, By: -1 << 63})
	assert.ErrorIs(t, err, protocol.ErrBadRequest)
	_, _, err = c.Incr(ctx, protocol.Incr{Key: n, Conditional: true})
	assert.ErrorIs(t, err, protocol.ErrConflict)
	vn, err = c.Expire(ctx, protocol.Expire{Key: n, ExpireAt: 4102444800000})
	require.NoError(t, err)
	got, err = c.Get(ctx, n)
	require.NoError(t, err)
	assert.Equal(t, protocol.Meta{Version: vn, Expiry: 4102444800000}, got.Meta)
	vn, err = c.Persist(ctx, protocol.Persist{Key: n, Conditional: true, IfVersion: vn})
	require.NoError(t, err)
	got, err = c.Get(ctx, n)
	require.NoError(t, err)
	assert.Equal(t, protocol.Meta{Version: vn}, got.Meta)
	_, err = c.Expire(ctx, protocol.Expire{Key: absent, TTL: 1})
	assert.ErrorIs(t, err, protocol.ErrNotFound)
	_, err = c.Persist(ctx, protocol.Persist{Key: absent})
	assert.ErrorIs(t, err, protocol.ErrNotFound)
	_, _, err = c.Del(ctx, n)
	require.NoError(t, err)

	p, err := c.Txn(ctx, protocol.Txn{
		WithMeta:   true,
		Conditions: []protocol.Condition{{Key: a, Version: v3}},
		Ops:        []protocol.TxnOp{{Kind: protocol.TxnGet, Key: a}, {Kind: protocol.TxnDel, Key: absent}, {Kind: protocol.TxnSet, Key: b, Value: a}},
	})
	require.NoError(t, err)
	assert.Equal(t, v3, p.Results[0].Value.Version)
	assert.False(t, p.Results[1].Existed)

	page, err := c.Scan(ctx, protocol.Scan{WithMeta: true, WithValues: true, Prefix: b})
	require.NoError(t, err)
	assert.Empty(t, page.Cursor)
	assert.Equal(t, []protocol.ScanItem{{Key: b, Value: a, Meta: protocol.Meta{Version: p.Version}}}, page.Items)
	_, err = c.Scan(ctx, protocol.Scan{Cursor: []byte("stale")})
	assert.ErrorIs(t, err, protocol.ErrBadRequest)

	existed, _, err := c.Del(ctx, a, absent, a)
	require.NoError(t, err)
	assert.Equal(t, 1, existed)
	stats, err := c.Stats(ctx)
	require.NoError(t, err)
	assert.Contains(t, stats, protocol.Stat{Name: "keys", Value: 1})

	_, err = c.Snapshot(ctx)
	assert.ErrorIs(t, err, protocol.ErrUnavailable)
	_, err = c.Backup(ctx, new(bytes.Buffer))
	assert.ErrorIs(t, err, protocol.ErrUnavailable)
	_, err = c.Set(ctx, protocol.Set{Value: make([]byte, 1<<20)})
	assert.ErrorIs(t, err, protocol.ErrTooLarge)
}

func TestOneConnectionTooMany(t *testing.T) {
	s := nettest.Start(t, nettest.Options{Config: netserver.Config{MaxConnections: 1}})
	c := connect(t, s, client.Options{})
	_, err := client.Dial(t.Context(), s.Addr, client.Options{})
	assert.ErrorIs(t, err, protocol.ErrUnavailable)
	assert.NoError(t, c.Ping(t.Context(), nil))
}

func TestCredentials(t *testing.T) {
	accounts := nettest.Accounts(t, "anna", "ro", "s3cret")
	s := nettest.Start(t, nettest.Options{Config: netserver.Config{Accounts: accounts}})
	for _, o := range []client.Options{{}, {User: "anna"}, {User: "anna", Secret: "wrong"}, {User: "bob", Secret: "s3cret"}} {
		_, err := client.Dial(t.Context(), s.Addr, o)
		assert.ErrorIs(t, err, protocol.ErrUnauthenticated)
	}
	c := connect(t, s, client.Options{User: "anna", Secret: "s3cret"})
	_, err := c.Get(t.Context(), nil)
	assert.ErrorIs(t, err, protocol.ErrNotFound)
	_, err = c.Set(t.Context(), protocol.Set{})
	assert.ErrorIs(t, err, protocol.ErrForbidden)
}

// A server that shuts down: what it answered is known, everything after fails with ErrClosed.
func TestServerShutsDown(t *testing.T) {
	s := nettest.Start(t, nettest.Options{})
	c := connect(t, s, client.Options{})
	_, err := c.Set(t.Context(), protocol.Set{})
	require.NoError(t, err)
	s.Shutdown()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Get(ctx, nil)
		return err != nil
	}, nettest.Timeout, time.Millisecond)
	assert.ErrorIs(t, err, client.ErrClosed)
}

// A pool goes on with a server that was started anew at the same address: reads as if nothing had been, writes once.
func TestPoolOutlivesTheServer(t *testing.T) {
	st, err := store.Open(store.Options{})
	require.NoError(t, err)
	defer st.Close()
	addr := "127.0.0.1:0"
	start := func() (stop func()) {
		srv, err := netserver.New(netserver.Config{Store: st})
		require.NoError(t, err)
		l, err := net.Listen("tcp", addr)
		require.NoError(t, err)
		addr = l.Addr().String()
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		return func() {
			now, cancel := context.WithCancel(t.Context())
			cancel() // connections are closed, whatever is under way
			srv.Shutdown(now)
			<-served
		}
	}
	stop := start()
	p := client.NewPool(addr, client.PoolOptions{Connections: 2})
	defer p.Close()
	key := []byte("n")
	done, progress := make(chan struct{}), make(chan int64)
	var unknown, counted int64
	go func() { // counts for as long as it may
		defer close(progress)
		for {
			n, _, err := p.Incr(t.Context(), protocol.Incr{Key: key, By: 1})
			switch {
			case errors.Is(err, client.ErrUnknown), errors.Is(err, protocol.ErrUnavailable):
				unknown++
				continue
			case assert.NoError(t, err):
				counted++
			}
			select {
			case progress <- n:
			case <-done:
				return
			}
		}
	}()
	for range 3 {
		before := <-progress
		stop()
		stop = start()
		v, err := p.Get(t.Context(), key)
		require.NoError(t, err)
		n, err := strconv.ParseInt(string(v.Data), 10, 64)
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, before)
	}
	close(done)
	for range progress {
	}
	v, err := p.Get(t.Context(), key)
	require.NoError(t, err)
	n, err := strconv.ParseInt(string(v.Data), 10, 64)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, n, counted)
	assert.LessOrEqual(t, n, counted+unknown, "a write was sent twice")
	stop()
}
