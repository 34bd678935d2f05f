package rest_test

import (
	"context"
	"encoding/base64"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/netserver/rest"
)

func basic(user, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+secret))
}

// TestForeignPages: a web page that somebody else made reaches nothing, whatever name it has for this server, and what it says of
// itself. Without users nobody does who is elsewhere.
func TestForeignPages(t *testing.T) {
	const loopback, outside = "127.0.0.1:7071", "10.1.2.3:7071"
	cases := []struct {
		at, host   string
		headers    []string
		open       int
		withSecret int
	}{
		{loopback, "127.0.0.1:7071", nil, 200, 200},
		{"[::1]:7071", "[::1]:7071", nil, 200, 200},
		{"[::ffff:127.0.0.1]:7071", "LOCALHOST.", nil, 200, 200},
		{loopback, "kv.localhost:7071", []string{"Sec-Fetch-Site", "none"}, 200, 200},
		{loopback, "localhost:7071", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://localhost:7071"}, 200, 200},
		{loopback, "", nil, 200, 200}, // HTTP/1.0
		{loopback, "evil.example:7071", nil, 403, 200},
		{loopback, "127.0.0.1.evil.example", nil, 403, 200},
		{loopback, "localhost.evil.example", nil, 403, 200},
		{loopback, "evil.example:7071", []string{"Origin", "http://evil.example:7071", "Sec-Fetch-Site",
			"same-origin"}, 403, 200}, // rebound
		{loopback, "localhost:7071", []string{"Sec-Fetch-Site", "cross-site"}, 403, 403},
		{loopback, "localhost:7071", []string{"Sec-Fetch-Site", "same-site"}, 403, 403},
		{loopback, "localhost:7071", []string{"Sec-Fetch-Site", "nonsense"}, 403, 403},
		{loopback, "localhost:7071", []string{"Origin", "http://evil.example"}, 403, 403},
		{loopback, "localhost:7071", []string{"Origin", "http://localhost:8080"}, 403, 403},
		{loopback, "localhost:7071", []string{"Origin", "null"}, 403, 403},
		{loopback, "localhost:7071", []string{"Origin", "http://localhost:7071.evil.example"}, 403, 403},
		{loopback, "localhost:7071", []string{"X-Forwarded-For", "192.0.2.1"}, 403, 200},
		{loopback, "localhost:7071", []string{"Forwarded", "for=192.0.2.1"}, 403, 200},
		{loopback, "localhost:7071", []string{"Via", "1.1 proxy"}, 403, 200},
		{outside, "10.1.2.3:7071", nil, 403, 200},
		{outside, "localhost:7071", nil, 403, 200},
		{outside, "kv.internal:7071", []string{"Origin", "http://kv.internal:7071"}, 403, 200},
		{outside, "kv.internal:7071", []string{"Sec-Fetch-Site", "cross-site"}, 403, 403},
		{"", "localhost:7071", nil, 403, 200}, // a connection that says nothing of itself
	}
	// Over a Unix socket its file's mode says who may.
	unix := httptest.NewRequest("GET", "/v1/keys", nil)
	unix = unix.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey,
		net.Addr(&net.UnixAddr{Name: "/run/kv.sock", Net: "unix"})))
	for kind, o := range map[string]nettest.Options{"open": {},
		"users": {Config: netserver.Config{Accounts: nettest.Accounts(t, "anna", "rw", "s3cret")}}} {
		t.Run(kind, func(t *testing.T) {
			srv := nettest.Start(t, o)
			h := rest.Handler(rest.Config{Server: func() *netserver.Server { return srv.Server }})
			for _, tt := range cases {
				for _, method := range []string{"GET", "PUT", "OPTIONS"} {
					want := tt.open
					if kind == "users" {
						want = tt.withSecret
					}
					r := httptest.NewRequest(method, "/v1/stats", nil)
					if r.Host = tt.host; method == "PUT" {
						r.URL.Path = "/v1/keys/k"
					}
					r.Header.Set("Authorization", basic("anna", "s3cret"))
					for i := 0; i < len(tt.headers); i += 2 {
						r.Header.Set(tt.headers[i], tt.headers[i+1])
					}
					if tt.at != "" {
						a, err := net.ResolveTCPAddr("tcp", tt.at)
						require.NoError(t, err)
						r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(a)))
					}
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					got := w.Code
					switch {
					case method == "OPTIONS" && got == 405, method == "PUT" && (got == 201 || got == 204):
						got = 200
					}
					require.Equal(t, want, got, "%s: %+v", method, tt)
					for name := range w.Header() {
						require.NotContains(t, name, "Access-Control")
					}
				}
			}
			if unix.Host = "any.name"; kind == "open" {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, unix)
				require.Equal(t, 200, w.Code)
			}
		})
	}
}

func TestLogin(t *testing.T) {
	a := serve(t, nettest.Options{Config: netserver.Config{Accounts: nettest.Accounts(t, "anna", "rw", "s3cret", "bob", "ro", "pass:word", "eve", "ro", "twice", "dan", "rw", "twice")}})
	get := func(authorization ...string) response {
		var headers []string
		for _, one := range authorization {
			headers = append(headers, "Authorization", one)
		}
		return a.do("GET", "/v1/stats", "", headers...)
	}
	anna, bob := basic("anna", "s3cret"), basic("bob", "pass:word")
	for _, good := range []string{anna, "basic " + anna[6:], bob, "Bearer s3cret",
		"BEARER pass:word", basic("eve", "twice"), basic("dan", "twice")} {
		require.Equal(t, 200, get(good).StatusCode, good)
	}
	r := get()
	r.problem(t, 401, "a user and a secret are needed")
	require.Equal(t, []string{`Basic realm="kv", charset="UTF-8"`, `Bearer realm="kv"`}, r.Header.Values("WWW-Authenticate"))
	require.False(t, r.Close)
	get(basic("", "")).problem(t, 401, "needed")
	get("Bearer ").problem(t, 401, "needed")
	get("Digest x").problem(t, 401, "Basic, with both, or Bearer")
	get("Basic !").problem(t, 400, "base64")
	get("Basic "+base64.StdEncoding.EncodeToString([]byte("anna"))).problem(t, 400, "user:secret")
	get(anna, anna).problem(t, 400, "twice")
	require.Zero(t, a.Stat("login_failures"), "none of these was a guess")
	for _, wrong := range []string{basic("anna", "wrong"), basic("nobody", "s3cret"), basic("", "s3cret"),
		"Bearer wrong", "Bearer twice"} {
		r := get(wrong)
		r.problem(t, 401, "wrong user or secret")
		require.True(t, r.Close, "a guess takes a connection")
		require.NotEmpty(t, r.Header.Get("WWW-Authenticate"))
	}
	require.EqualValues(t, 5, a.Stat("login_failures"))
	a.AwaitLog("a login failed", "user=anna", "remote=127.0.0.1:")

	// Who may only read.
	reads := func(method, target, body string) int {
		return a.do(method, target, body, "Authorization", bob, "Content-Type", "application/json").StatusCode
	}
	for target, want := range map[string]int{
		"GET /v1/keys": 200, "GET /v1/stats": 200, "GET /v1/keys/k": 404, "GET /v1/history/k": 404, `POST /v1/mget {"keys":[]}`: 200,
		`POST /v1/txn {"operations":[{"get":"k"}]}`: 200, `POST /v1/txn {"operations":[{"get":"k"},{"delete":"k"}]}`: 403,
		`POST /v1/txn {"operations":[{"set":{"key":"k","value":"v"}}]}`: 403, "PUT /v1/keys/k v": 403, "DELETE /v1/keys/k": 403,
		`POST /v1/mset {"records":[]}`: 403, `POST /v1/delete {"keys":[]}`: 403, `POST /v1/incr {"key":"k"}`: 403, `POST /v1/expire {"key":"k","ttl":"1s"}`: 403,
		`POST /v1/persist {"key":"k"}`: 403, `POST /v1/rollback {"key":"k","version":1}`: 403,
	} {
		method, rest, _ := strings.Cut(target, " ")
		path, body, _ := strings.Cut(rest, " ")
		require.Equal(t, want, reads(method, path, body), target)
	}
	require.Zero(t, a.Stat("keys"))
	require.Equal(t, 201, a.do("PUT", "/v1/keys/k", "v", "Authorization", anna).StatusCode)
	// The description says nothing of what is stored.
	require.Equal(t, 200, a.do("GET", "/v1/openapi.json", "").StatusCode)
	for _, line := range a.Log.Lines() {
		require.NotContains(t, line, "s3cret")
		require.NotContains(t, line, "pass:word")
	}
}

// TestUserGoes: a list that takes long ends when its user may not read any more.
func TestUserGoes(t *testing.T) {
	who := nettest.Accounts(t, "anna", "rw", "s3cret")
	a := serve(t, nettest.Options{Config: netserver.Config{Accounts: who}})
	s := a.session()
	for i := range 200 {
		require.NoError(t, s.put(strings.Repeat("k", i), strings.Repeat("v", 100_000)))
	}
	c := a.raw()
	c.send("GET /v1/keys HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\n\r\n")
	begin := make([]byte, 15)
	_, err := c.Read(begin)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 200 OK", string(begin))
	line, err := netserver.AccountLine("bob", "ro", []byte("other"))
	require.NoError(t, err)
	require.NoError(t, who.Load(strings.NewReader(line)))
	rest := c.rest()
	require.Less(t, len(rest), 200*100_000)
	require.False(t, strings.HasSuffix(rest, "0\r\n\r\n"), "the list has an end")
}
