package rest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/netserver/rest"
	"kv/store"
)

// next reads one answer of a connection.
func (c *rawConn) next(in *bufio.Reader, method string) response {
	c.t.Helper()
	r, err := http.ReadResponse(in, &http.Request{Method: method})
	require.NoError(c.t, err)
	b, err := io.ReadAll(r.Body)
	require.NoError(c.t, err)
	return response{r, string(b)}
}

// TestUploadsGivenUp: what has come of a body is claimed, and is given back however it ends.
func TestUploadsGivenUp(t *testing.T) {
	a := serve(t, nettest.Options{})
	for name, head := range map[string]string{
		"length": "PUT /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n",
		"chunks": "PUT /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4000000\r\n",
		"JSON":   "POST /v1/mset HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10000000\r\n\r\n",
	} {
		c := a.raw()
		c.send(head)
		for range 10 {
			c.send(strings.Repeat("x", 100_000))
		}
		require.Eventually(t, func() bool { return a.Stat("request_memory_bytes") >= 1_000_000 }, nettest.Timeout,
			time.Millisecond, name)
		require.Less(t, a.Stat("request_memory_bytes"), uint64(4_000_000), "more than has arrived")
		c.Close()
		a.AwaitRequests()
	}
	// A chunk that is none.
	c := a.raw()
	c.send("PUT /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nvalue\r\nxyz\r\n")
	require.Contains(t, c.rest(), "HTTP/1.1 400 ")
	// A body that is shorter than was said.
	c = a.raw()
	c.send("PUT /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nvalue")
	require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
	require.Contains(t, c.rest(), "HTTP/1.1 400 ")
	require.Zero(t, a.Stat("keys"))
}

// TestSlowBody: a body that stops is waited for no longer than it may take, and the connection ends.
func TestSlowBody(t *testing.T) {
	a := serve(t, nettest.Options{}, func(c *rest.Config) { c.BodyTimeout = 20 * time.Millisecond })
	c := a.raw()
	c.send("PUT /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nbegin")
	require.Regexp(t, `(?s)^HTTP/1\.1 408 .*Connection: close.*in time`, c.rest())
	require.Zero(t, a.Stat("keys"))
}

// TestRefusedBeforeTheBody: what is refused whatever its body is costs neither memory nor the body's way here.
func TestRefusedBeforeTheBody(t *testing.T) {
	a := serve(t, nettest.Options{Config: netserver.Config{Limit: 1 << 20, Accounts: nettest.Accounts(t, "anna", "rw", "s3cret")}})
	const login = "Authorization: Bearer s3cret\r\n"
	for _, tt := range []struct {
		head   string
		status int
	}{
		{"PUT /v1/keys/k HTTP/1.1\r\nContent-Length: 100\r\n", 401},
		{"PUT /v1/stats HTTP/1.1\r\nContent-Length: 100\r\n" + login, 405},
		{"POST /v1/mset HTTP/1.1\r\nContent-Length: 100\r\n" + login, 415},
		{"PUT /v1/keys/k HTTP/1.1\r\nKv-Ttl: x\r\nContent-Length: 100\r\n" + login, 400},
		{"PUT /v1/keys/k HTTP/1.1\r\nContent-Length: 1048576\r\n" + login, 413},
		{"PUT /v1/keys/k HTTP/1.1\r\nContent-Length: 9223372036854775807\r\n" + login, 413},
		{"POST /v1/mset HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1048577\r\n" + login, 413},
	} {
		c := a.raw()
		c.send(tt.head + "Host: localhost\r\nExpect: 100-continue\r\n\r\n")
		r := c.next(bufio.NewReader(c), "PUT")
		require.Equal(t, tt.status, r.StatusCode, "%s: not 100, which asks for the body", tt.head)
		require.True(t, r.Close, "%s: what of the body is still to come would be taken for a request", tt.head)
	}
	// One that may come is asked for.
	c := a.raw()
	c.send("PUT /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n" + login + "\r\n")
	in := bufio.NewReader(c)
	text, err := in.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", text)
	_, err = in.ReadString('\n')
	require.NoError(t, err)
	c.send("value")
	require.Equal(t, 201, c.next(in, "PUT").StatusCode)

	// Who looks for the answer only when all is sent has it too.
	c = a.raw()
	c.send("PUT /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000000\r\n" + login + "\r\n")
	for range 300 {
		c.send(strings.Repeat("x", 100_000))
	}
	require.Contains(t, c.rest(), "HTTP/1.1 413 ")

	// In chunks nobody knows before.
	c = a.raw()
	c.send("PUT /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n" + login + "\r\n")
	for range 11 {
		c.send(fmt.Sprintf("%x\r\n%s\r\n", 100_000, strings.Repeat("x", 100_000)))
	}
	require.Contains(t, c.rest(), "HTTP/1.1 413 ")
	require.EqualValues(t, 1, a.Stat("keys"))
}

// TestOddRequests: what HTTP leaves to the server, and what it forbids.
func TestOddRequests(t *testing.T) {
	a := serve(t, nettest.Options{})
	require.NoError(t, a.session().put("k", "value"))
	for _, tt := range []struct{ sent, want string }{
		{"GET /v1/keys/k HTTP/1.0\r\n\r\n", `^HTTP/1\.0 200 (?s:.*)\r\n\r\nvalue$`},
		{"GET http://localhost/v1/keys/k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", `^HTTP/1\.1 200 `},
		{"GET http://evil.example/v1/keys/k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", `^HTTP/1\.1 403 `},
		{"GET /v1/keys/k HTTP/1.1\r\nConnection: close\r\n\r\n", `^HTTP/1\.1 400 `},
		{"GET /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", `^HTTP/1\.1 400 `},
		{"GET /v1/keys/%zz HTTP/1.1\r\nHost: localhost\r\n\r\n", `^HTTP/1\.1 400 `},
		{"GET /v1/keys/a b HTTP/1.1\r\nHost: localhost\r\n\r\n", `^HTTP/1\.1 400 `},
		{"GET /v1/keys/k\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n", `^HTTP/1\.1 400 `},
		{"GET /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 100_000) + "\r\n\r\n", `^HTTP/1\.1 431 `},
		{"GET /v1/keys/" + strings.Repeat("k", 100_000) + " HTTP/1.1\r\nHost: localhost\r\n\r\n", `^HTTP/1\.1 431 `},
		{"PUT /v1/keys/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", `^HTTP/1\.1 400 `},
		{"PUT /v1/keys/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", `^HTTP/1\.1 400 `},
		{"PUT /v1/keys/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", `^HTTP/1\.1 (400|501) `},
		{"PUT /v1/keys/x HTTP/1.1\r\nHost: localhost\r\nExpect: the-unexpected\r\nConnection: close\r\nContent-Length: 1\r\n\r\na", `^HTTP/1\.1 417 `},
		// A body where there is none: it is not the next request.
		{"GET /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhelloHEAD /v1/keys/k HTTP/1.1\r\nHost: localhost\r\n\r\n", `^HTTP/1\.1 400 (?s:.*)has no body here"}\n$`},
		// Several at a time.
		{"PUT /v1/keys/p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1DELETE /v1/keys/p HTTP/1.1\r\nHost: localhost\r\n\r\nGET /v1/keys/p HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
			`^HTTP/1\.1 201 (?s:.*)HTTP/1\.1 204 (?s:.*)HTTP/1\.1 404 `},
		{"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", `^HTTP/1\.1 200 `},
		{"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", `^HTTP/1\.1 404 `},
	} {
		c := a.raw()
		c.send(tt.sent)
		require.Regexp(t, tt.want, c.rest(), "%.200q", tt.sent)
	}
	require.EqualValues(t, 1, a.Stat("keys"))
}

// TestMemoryShort: a body that there is no memory for now is told to come again, one that can never be held is too large, and a
// full store is neither.
func TestMemoryShort(t *testing.T) {
	a := serve(t, nettest.Options{Store: store.Options{MaxMemory: 3 << 20}, Config: netserver.Config{RequestMemory: 1 << 20}})
	c := a.raw()
	c.send("PUT /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 600000\r\n\r\n" + strings.Repeat("x", 590_000))
	require.Eventually(t, func() bool { return a.Stat("request_memory_bytes") >= 590_000 }, nettest.Timeout, time.Millisecond)
	r := a.do("PUT", "/v1/keys/other", strings.Repeat("x", 600_000))
	r.problem(t, 429, "no memory for a request of this size now")
	require.Equal(t, "1", r.Header.Get("Retry-After"))
	require.True(t, r.Close)
	require.Equal(t, 201, a.do("PUT", "/v1/keys/small", "x").StatusCode)
	c.send(strings.Repeat("x", 10_000))
	require.Equal(t, 201, c.next(bufio.NewReader(c), "PUT").StatusCode)

	a.do("PUT", "/v1/keys/other", strings.Repeat("x", 1<<20)).problem(t, 413, "longer than")
	var keys strings.Builder
	for range 100_000 {
		keys.WriteString(`"",`)
	}
	a.post("/v1/mget", `{"keys":[`+keys.String()+`""]}`).problem(t, 429, "no memory")

	for i := range 10 {
		r = a.do("PUT", fmt.Sprint("/v1/keys/fill", i), strings.Repeat("x", 600_000))
	}
	r.problem(t, 507, "out of memory")
	require.Equal(t, 204, a.do("DELETE", "/v1/keys/fill0", "").StatusCode)
	require.Equal(t, 201, a.do("PUT", "/v1/keys/fill0", strings.Repeat("x", 600_000)).StatusCode)
	require.NotZero(t, a.Stat("refusals_out_of_memory"))
}

// TestReadersWhoDoNotRead: an answer that nobody takes holds memory. Where others need that, it is given up.
func TestReadersWhoDoNotRead(t *testing.T) {
	a := serve(t, nettest.Options{Config: netserver.Config{OutputMemory: 20 << 20, ClientOutput: 16 << 20}})
	value := strings.Repeat("x", 12<<20) // more than the system keeps
	require.NoError(t, a.session().put("k", value))
	for range 3 {
		c := a.raw()
		require.NoError(t, c.Conn.(*net.TCPConn).SetReadBuffer(4096))
		c.send("GET /v1/keys/k HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	require.Eventually(t, func() bool { return a.Stat("output_memory_bytes") >= 12<<20 }, nettest.Timeout, time.Millisecond)
	require.True(t, a.do("GET", "/v1/keys/k", "").body == value)
	a.Await("connections_cut_off", 1)
}

// TestNobodyTakesIt: a client that takes nothing of its answer is given up after the time that it has.
func TestNobodyTakesIt(t *testing.T) {
	a := serve(t, nettest.Options{}, func(c *rest.Config) { c.WriteTimeout = 50 * time.Millisecond })
	require.NoError(t, a.session().put("k", strings.Repeat("x", 12<<20)))
	for _, target := range []string{"/v1/keys/k", "/v1/keys"} {
		c := a.raw()
		require.NoError(t, c.Conn.(*net.TCPConn).SetReadBuffer(4096))
		c.send("GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
		require.Eventually(t, func() bool { return a.Stat("output_memory_bytes") >= 12<<20 }, nettest.Timeout, time.Millisecond)
		a.AwaitRequests()
	}
}

// TestClientGoes: a list ends with its client.
func TestClientGoes(t *testing.T) {
	a := serve(t, nettest.Options{})
	s := a.session()
	for i := range 100 {
		require.NoError(t, s.put(fmt.Sprint(i), strings.Repeat("x", 300_000)))
	}
	c := a.raw()
	c.send("GET /v1/keys HTTP/1.1\r\nHost: localhost\r\n\r\n")
	_, err := c.Read(make([]byte, 1000))
	require.NoError(t, err)
	require.NotZero(t, a.Stat("output_memory_bytes"))
	c.Close()
	a.AwaitRequests()
}

// TestShutdown: requests that have arrived are answered, later ones are refused, and slow ones are cut off.
func TestShutdown(t *testing.T) {
	a := serve(t, nettest.Options{})
	c := a.raw()
	c.send("PUT /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nval")
	require.Eventually(t, func() bool { return a.Stat("request_memory_bytes") > 0 }, nettest.Timeout, time.Millisecond)
	done := make(chan struct{})
	go func() {
		a.Shutdown()
		close(done)
	}()
	require.Eventually(t, a.Draining, nettest.Timeout, time.Millisecond)
	r := a.do("GET", "/v1/keys/k", "")
	r.problem(t, 503, "shutting down: nothing was applied")
	require.Equal(t, "1", r.Header.Get("Retry-After"))
	require.True(t, r.Close)
	select {
	case <-done:
		require.Fail(t, "a request was under way")
	default:
	}
	c.send("ue")
	require.Equal(t, 201, c.next(bufio.NewReader(c), "PUT").StatusCode)
	<-done

	a = serve(t, nettest.Options{})
	c = a.raw()
	c.send("PUT /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nval")
	require.Eventually(t, func() bool { return a.Stat("request_memory_bytes") > 0 }, nettest.Timeout, time.Millisecond)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, a.Server.Server.Shutdown(over), context.Canceled)
	c.rest()
	require.Nil(t, a.session().Get([]byte("k")))
}

// TestLoading: while there is no server yet, whoever asks is told so.
func TestLoading(t *testing.T) {
	a := serve(t, nettest.Options{}, func(c *rest.Config) {
		c.Server = func() *netserver.Server { return nil }
		c.Loading = func() string { return "loading 3 of 9 bytes" }
	})
	a.do("GET", "/v1/keys", "").problem(t, 503, "loading 3 of 9 bytes: nothing was applied")
	a.do("PUT", "/v1/keys/k", "v").problem(t, 503, "loading 3 of 9 bytes: nothing was applied")
	require.Equal(t, 200, a.do("GET", "/v1/openapi.json", "").StatusCode)
}

// disk is a store.Journal in memory that can be made to wait and to fail.
type disk struct {
	mu           sync.Mutex // guards what follows
	last, synced uint64
	held         chan struct{}
	failed       bool
}

func (d *disk) Replay(_, _ func([]*store.Entry)) (uint64, error) { return 0, nil }
func (d *disk) Expect() int64                                    { return 0 }
func (d *disk) Admit(int64) error                                { return nil }

func (d *disk) Append(floor uint64, _ []*store.Entry) (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = max(d.last, floor) + 1
	return d.last, nil
}

func (d *disk) Durable() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.synced
}

func (d *disk) Wait(version uint64) error {
	d.mu.Lock()
	held := d.held
	d.mu.Unlock()
	if held != nil {
		<-held
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed && version > d.synced {
		return fmt.Errorf("the disk failed: %w", store.ErrReadOnly)
	}
	d.synced = max(d.synced, version)
	return nil
}

// set changes how the disk is.
func (d *disk) set(held chan struct{}, failed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held, d.failed = held, failed
}

// TestDurable: nothing leaves before it can't be taken back, be it the answer to a write, a value that was read, that a key is
// absent or that a condition does not hold. Once the disk has failed none of that leaves.
func TestDurable(t *testing.T) {
	d := &disk{}
	a := serve(t, nettest.Options{Store: store.Options{Journal: d}})
	require.Equal(t, 201, a.do("PUT", "/v1/keys/safe", "v").StatusCode)
	s := a.session()
	version, err := s.Set([]byte("lost"), []byte("v"), store.SetOptions{})
	require.NoError(t, err)
	_, _, err = s.Del([][]byte{[]byte("lost too")})
	require.NoError(t, err)

	held := make(chan struct{})
	d.set(held, false)
	answers := make(chan response, 10)
	requests := []func() response{
		func() response { return a.do("GET", "/v1/keys/lost", "") },
		func() response { return a.do("HEAD", "/v1/keys/lost", "") },
		func() response {
			return a.do("GET", "/v1/keys/lost", "", "If-None-Match", fmt.Sprintf(`"%d"`, version))
		},
		func() response { return a.do("PUT", "/v1/keys/lost", "w", "If-None-Match", "*") },
		func() response { return a.do("PUT", "/v1/keys/new", "w") },
		func() response { return a.do("GET", "/v1/keys?prefix=lost", "") },
		func() response { return a.do("GET", "/v1/keys?prefix=lost&limit=5", "") },
		func() response { return a.post("/v1/mget", `{"keys":["lost"]}`) },
		func() response { return a.post("/v1/incr", `{"key":"n"}`) },
	}
	var all sync.WaitGroup
	for _, ask := range requests {
		all.Go(func() { answers <- ask() })
	}
	require.Equal(t, 200, a.do("GET", "/v1/keys/safe", "").StatusCode, "that is durable")
	select {
	case r := <-answers:
		require.Fail(t, "an answer has left", "%s %s", r.Request.Method, r.Request.URL)
	case <-time.After(20 * time.Millisecond): // it can't be seen that none comes
	}
	d.set(nil, true)
	close(held)
	all.Wait()
	for range requests {
		r := <-answers
		require.Equal(t, 503, r.StatusCode, "%s %s: %s", r.Request.Method, r.Request.URL, r.body)
	}
	require.Equal(t, 200, a.do("GET", "/v1/keys/safe", "").StatusCode)
	a.do("GET", "/v1/keys/lost", "").problem(t, 503, "the disk failed")
}
