package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/store"
)

// FuzzRequest: whatever request net/http lets through is answered with what the API has for it, changes nothing where that is a
// refusal, and leaves no memory behind.
func FuzzRequest(f *testing.F) {
	const json1 = "Host: localhost\r\nContent-Type: application/json\r\n"
	for _, text := range []string{
		"GET /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: W/\"5\", *\r\n\r\n",
		"PUT /v1/keys/%00%2F?encoding=base64url HTTP/1.1\r\nHost: [::1]:7\r\nKv-Ttl: 1h\r\nIf-Match: \"1\",\"2\"\r\nContent-Length: 5\r\n\r\nvalue",
		"PUT /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nKv-Expiry: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"DELETE /v1/keys/k HTTP/1.0\r\n\r\n",
		"GET /v1/keys?prefix=%ff&limit=3&values=false&cursor=AAAAAAAAAAAAAAAAAAAAAA HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /v1/history/k?limit=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"POST /v1/mget HTTP/1.1\r\n" + json1 + "Content-Length: 31\r\n\r\n{\"keys\":[\"k\",{\"base64\":\"/w==\"}]}",
		"POST /v1/mset HTTP/1.1\r\n" + json1 + "Content-Length: 54\r\n\r\n{\"records\":[{\"key\":\"a\",\"value\":\"\\u00e9\",\"ttl\":\"1s\"}]} ",
		"POST /v1/txn HTTP/1.1\r\n" + json1 + "Content-Length: 80\r\n\r\n{\"conditions\":[{\"key\":\"k\",\"version\":0}],\"operations\":[{\"get\":\"k\"},{\"delete\":\"k\"}]}",
		"POST /v1/incr HTTP/1.1\r\n" + json1 + "Content-Length: 20\r\n\r\n{\"key\":\"n\",\"by\":-11}",
		"POST /v1/expire HTTP/1.1\r\n" + json1 + "Content-Length: 25\r\n\r\n{\"key\":\"k\",\"expiry\":5000}",
		"POST /v1/rollback HTTP/1.1\r\n" + json1 + "Content-Length: 23\r\n\r\n{\"key\":\"k\",\"version\":7}",
		"OPTIONS /v1/stats HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n",
	} {
		f.Add([]byte(text))
	}
	st, err := store.Open(store.Options{History: 2})
	require.NoError(f, err)
	srv, err := netserver.New(netserver.Config{Store: st, Limit: 1 << 16})
	require.NoError(f, err)
	h := Handler(Config{Server: func() *netserver.Server { return srv }})
	s := st.Session()
	f.Cleanup(func() {
		s.Close()
		require.NoError(f, st.Close())
	})
	written := func() uint64 {
		t := st.Stats()
		return t.SetOps + t.DelOps
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(text))))
		if err != nil {
			return
		}
		_, err = s.Set([]byte("k"), []byte("value"), store.SetOptions{})
		require.NoError(t, err)
		require.NoError(t, s.Flush())
		before := written()
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey,
			net.Addr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		a := w.Result()
		require.Equal(t, "nosniff", a.Header.Get("X-Content-Type-Options"))
		require.Empty(t, a.Header.Get("Access-Control-Allow-Origin"))
		body := w.Body.Bytes()
		switch {
		case a.StatusCode >= 500 || a.StatusCode == 429:
			require.Fail(t, "nothing is wrong with the server", "%d %s", a.StatusCode, body)
		case r.Method == http.MethodHead:
			require.Empty(t, body)
		case a.StatusCode >= 400:
			var p struct{ Status int }
			require.NoError(t, json.Unmarshal(body, &p), "%s", body)
			require.Equal(t, a.StatusCode, p.Status)
			require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"))
		case a.Header.Get("Content-Type") == "application/json":
			require.True(t, json.Valid(body), "%s", body)
		case a.Header.Get("Content-Type") == "application/x-ndjson":
			for line := range strings.Lines(string(body)) {
				require.True(t, json.Valid([]byte(line)))
			}
		}
		if a.StatusCode >= 400 && a.StatusCode != 404 { // a DELETE of what is not there counts
			require.Equal(t, before, written(), "%d, and yet something was written", a.StatusCode)
		}
		for _, figure := range srv.Stats() {
			if figure.Name == "request_memory_bytes" || figure.Name == "output_memory_bytes" {
				require.Zero(t, figure.Value, figure.Name)
			}
		}
	})
}
