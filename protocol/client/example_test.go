package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"strconv"

	"kv/netserver"
	"kv/protocol"
	"kv/protocol/client"
	"kv/store"
)

// serve starts a server on a free port and returns its address and what stops it.
func serve() (addr string, stop func()) {
	st, err := store.Open(store.Options{History: 2})
	if err != nil {
		log.Fatal(err)
	}
	srv, err := netserver.New(netserver.Config{Store: st})
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve(l)
	}()
	return l.Addr().String(), func() {
		srv.Shutdown(context.Background())
		<-served
		st.Close()
	}
}

func Example() {
	addr, stop := serve()
	defer stop()
	ctx := context.Background()

	c, err := client.Dial(ctx, addr, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	if _, err := c.Set(ctx, protocol.Set{Key: []byte("greeting"), Value: []byte("hello")}); err != nil {
		log.Fatal(err)
	}
	v, err := c.Get(ctx, []byte("greeting"))
	fmt.Println(string(v.Data), err)
	_, err = c.Get(ctx, []byte("farewell"))
	fmt.Println(errors.Is(err, protocol.ErrNotFound))
	// Output:
	// hello <nil>
	// true
}

// A counter that several clients may raise at a time: the write holds only if nobody else's came between.
func ExampleClient_Set_conditional() {
	addr, stop := serve()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(ctx, addr, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	raise := func(key []byte) (int, error) {
		for {
			v, err := c.Get(ctx, key)
			if err != nil && !errors.Is(err, protocol.ErrNotFound) {
				return 0, err
			}
			n, _ := strconv.Atoi(string(v.Data)) // absent: 0, and version 0
			n++
			_, err = c.Set(ctx, protocol.Set{Key: key, Value: []byte(strconv.Itoa(n)), Conditional: true, IfVersion: v.Version})
			if !errors.Is(err, protocol.ErrConflict) {
				return n, err
			}
		}
	}
	fmt.Println(raise([]byte("visits")))
	fmt.Println(raise([]byte("visits")))
	// Output:
	// 1 <nil>
	// 2 <nil>
}

// Move a value from one key to another at one instant.
func ExampleClient_Txn() {
	addr, stop := serve()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(ctx, addr, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	from, to := []byte("queue:1"), []byte("done:1")
	version, err := c.Set(ctx, protocol.Set{Key: from, Value: []byte("job")})
	if err != nil {
		log.Fatal(err)
	}
	move := protocol.Txn{
		Conditions: []protocol.Condition{{Key: from, Version: version}, {Key: to}}, // to is still absent
		Ops: []protocol.TxnOp{
			{Kind: protocol.TxnDel, Key: from},
			{Kind: protocol.TxnSet, Key: to, Value: []byte("job")},
		},
	}
	p, err := c.Txn(ctx, move)
	fmt.Println(p.Results[0].Existed, err)

	_, err = c.Txn(ctx, move)
	var conflict *protocol.Error
	fmt.Println(errors.As(err, &conflict), conflict.Index, conflict.Version)
	// Output:
	// true <nil>
	// true 0 0
}

// All keys with a prefix, page by page.
func ExampleClient_Scan() {
	addr, stop := serve()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(ctx, addr, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	for i := range 100 {
		if _, err := c.Set(ctx, protocol.Set{Key: fmt.Appendf(nil, "user:%d", i)}); err != nil {
			log.Fatal(err)
		}
	}
	keys := 0
	for q := (protocol.Scan{Prefix: []byte("user:"), Limit: 10}); ; {
		page, err := c.Scan(ctx, q)
		if err != nil {
			log.Fatal(err)
		}
		keys += len(page.Items)
		if len(page.Cursor) == 0 {
			break
		}
		q.Cursor = page.Cursor
	}
	fmt.Println(keys)
	// Output: 100
}

// Many requests under way at a time, from one goroutine.
func ExampleClient_Start() {
	addr, stop := serve()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(ctx, addr, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	var calls []*client.Call
	for i := range 1000 {
		calls = append(calls, c.Start(ctx, protocol.Set{Key: fmt.Appendf(nil, "k%d", i)}.AppendTo))
	}
	written := 0
	for _, k := range calls {
		if _, _, err := k.Wait(ctx); err == nil {
			written++
		}
	}
	fmt.Println(written)
	// Output: 1000
}

// A pool outlives a server that is started anew. What only reads is repeated; of a write whose answer was lost nobody knows.
func ExamplePool() {
	addr, stop := serve()
	defer stop()
	ctx := context.Background()
	p := client.NewPool(addr, client.PoolOptions{})
	defer p.Close()

	_, err := p.Set(ctx, protocol.Set{Key: []byte("greeting"), Value: []byte("hello")})
	if errors.Is(err, client.ErrUnknown) {
		fmt.Println("read what is there, and decide")
	}
	v, err := p.Get(ctx, []byte("greeting"))
	fmt.Println(string(v.Data), err)
	// Output: hello <nil>
}
