package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/rest"
	"kv/store"
)

// api is a server, and the document that it gives.
type api struct {
	t         *testing.T
	url       string
	document  libopenapi.Document
	validator validator.Validator
	called    map[string]bool // operations, as "GET /v1/keys/{key}", and each with the status that it answered
}

func serve(t *testing.T, o netserver.Config) *api {
	st, err := store.Open(store.Options{History: 3})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	o.Store = st
	s, err := netserver.New(o)
	require.NoError(t, err)
	web := httptest.NewServer(rest.Handler(rest.Config{Server: func() *netserver.Server { return s }}))
	t.Cleanup(web.Close)

	r, err := http.Get(web.URL + "/v1/openapi.json")
	require.NoError(t, err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	a := &api{t: t, url: web.URL, called: make(map[string]bool)}
	a.document, err = libopenapi.NewDocument(text)
	require.NoError(t, err)
	var errs []error
	a.validator, errs = validator.NewValidator(a.document)
	require.Empty(t, errs)
	return a
}

// do sends a request and checks that it, where it is good, and its answer are as the document says.
func (a *api) do(status int, operation, target, body string, headers ...string) *http.Response {
	a.t.Helper()
	method, _, _ := strings.Cut(operation, " ")
	request := func() *http.Request {
		r, err := http.NewRequest(method, a.url+target, strings.NewReader(body))
		require.NoError(a.t, err)
		if method == http.MethodPost {
			r.Header.Set("Content-Type", "application/json")
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return r
	}
	r, err := http.DefaultClient.Do(request())
	require.NoError(a.t, err)
	b, err := io.ReadAll(r.Body)
	require.NoError(a.t, err)
	require.NoError(a.t, r.Body.Close())
	r.Body = io.NopCloser(bytes.NewReader(b))
	where := fmt.Sprintf("%s: %d %s", operation, r.StatusCode, b)
	require.Equal(a.t, status, r.StatusCode, where)
	a.called[operation] = true
	a.called[fmt.Sprint(operation, " ", r.StatusCode)] = true
	if status < 400 || status == 404 || status == 409 || status == 412 {
		ok, errs := a.validator.ValidateHttpRequest(request())
		require.True(a.t, ok, "%s: the request: %v", where, errs)
	}
	ok, errs := a.validator.ValidateHttpResponse(request(), r)
	require.True(a.t, ok, "%s: the answer: %v", where, errs)
	r.Body = io.NopCloser(bytes.NewReader(b))
	return r
}

func TestDocument(t *testing.T) {
	a := serve(t, netserver.Config{})
	ok, errs := a.validator.ValidateDocument()
	require.True(t, ok, "%v", errs)
	require.True(t, strings.HasPrefix(a.document.GetVersion(), "3.1"))
}

// TestEveryOperation calls each operation of the document, for each of the answers that it is known for but those that take a
// server in trouble.
func TestEveryOperation(t *testing.T) {
	a := serve(t, netserver.Config{Limit: 1 << 16})
	const value, key = "PUT /v1/keys/{key}", "/v1/keys/a%2Fb"
	etag := a.do(201, value, key, "1").Header.Get("ETag")
	a.do(204, value, key, "2", "If-Match", etag, "Kv-Ttl", "1h")
	a.do(412, value, key, "3", "If-Match", etag)
	a.do(400, value, key, "3", "Kv-Ttl", "x")
	a.do(413, value, key, strings.Repeat("x", 1<<16))
	a.do(415, value, key, "3", "Content-Encoding", "gzip")
	a.do(204, value, "/v1/keys/b", "gone", "Kv-Expiry", "1")
	a.do(201, value, "/v1/keys/_w?encoding=base64url", "\xff", "Content-Type", "image/png")
	etag = a.do(200, "GET /v1/keys/{key}", key, "").Header.Get("ETag")
	a.do(304, "GET /v1/keys/{key}", key, "", "If-None-Match", etag)
	a.do(412, "GET /v1/keys/{key}", key, "", "If-Match", `"1"`)
	a.do(404, "GET /v1/keys/{key}", "/v1/keys/none", "")
	a.do(400, "GET /v1/keys/{key}", key+"?version=0", "")
	a.do(403, "GET /v1/keys/{key}", key, "", "Sec-Fetch-Site", "cross-site")
	a.do(200, "GET /v1/keys/{key}", key+"?version="+strings.Trim(etag, `"`), "")
	a.do(200, "HEAD /v1/keys/{key}", key, "")
	a.do(404, "HEAD /v1/keys/{key}", "/v1/keys/none", "")
	a.do(304, "HEAD /v1/keys/{key}", key, "", "If-None-Match", etag)

	list := a.do(200, "GET /v1/keys", "/v1/keys?prefix=", "")
	b, err := io.ReadAll(list.Body)
	require.NoError(t, err)
	records := strings.Split(strings.TrimSpace(string(b)), "\n")
	require.Len(t, records, 2)
	// A line is a record as mget has it, which is held against the schema.
	many := a.do(200, "POST /v1/mget", "/v1/mget", `{"keys":["a/b",{"base64":"/w=="},"none"]}`)
	b, err = io.ReadAll(many.Body)
	require.NoError(t, err)
	for _, r := range records {
		require.Contains(t, string(b), r)
	}
	page := a.do(200, "GET /v1/keys", "/v1/keys?limit=1&values=false", "")
	a.do(200, "GET /v1/keys", "/v1/keys?limit=1000&cursor="+page.Header.Get("Kv-Cursor"), "")
	a.do(400, "GET /v1/keys", "/v1/keys?limit=0", "")

	a.do(200, "POST /v1/mset", "/v1/mset", `{"records":[{"key":"m","value":"1","ttl":"30s"},{"key":"n","value":{"base64":"/w=="},"expiry":null,"version":5}]}`)
	a.do(400, "POST /v1/mset", "/v1/mset", `{"records":[{"key":"m"}]}`)
	a.do(415, "POST /v1/mset", "/v1/mset", `{"records":[]}`, "Content-Type", "text/plain")
	a.do(413, "POST /v1/mset", "/v1/mset", strings.Repeat(" ", 1<<16+1))
	a.do(200, "POST /v1/delete", "/v1/delete", `{"keys":["n","none"]}`)
	a.do(200, "POST /v1/txn", "/v1/txn", `{"conditions":[{"key":"t","version":0}],"operations":[{"get":"m"},{"set":{"key":"t","value":"1"}},{"delete":{"base64":"AA=="}},{"get":"none"}]}`)
	a.do(409, "POST /v1/txn", "/v1/txn", `{"conditions":[{"key":"t","version":0}],"operations":[]}`)
	a.do(200, "POST /v1/incr", "/v1/incr", `{"key":"i","by":-5,"ttl":"1m"}`)
	a.do(200, "POST /v1/incr", "/v1/incr", `{"key":"i"}`)
	a.do(409, "POST /v1/incr", "/v1/incr", `{"key":{"base64":"/w=="}}`)
	a.do(409, "POST /v1/expire", "/v1/expire", `{"key":"i","ttl":"1h","if_version":0}`)
	a.do(409, "POST /v1/persist", "/v1/persist", `{"key":"i","if_version":1}`)
	a.do(200, "POST /v1/expire", "/v1/expire", `{"key":"i","expiry":4102444800000}`)
	a.do(404, "POST /v1/expire", "/v1/expire", `{"key":"none","ttl":"1s"}`)
	a.do(200, "POST /v1/persist", "/v1/persist", `{"key":"i"}`)
	a.do(404, "POST /v1/persist", "/v1/persist", `{"key":"none"}`)

	a.do(204, "DELETE /v1/keys/{key}", key, "", "If-Match", etag)
	a.do(404, "DELETE /v1/keys/{key}", key, "")
	a.do(412, "DELETE /v1/keys/{key}", "/v1/keys/m", "", "If-None-Match", "*")
	a.do(200, "GET /v1/history/{key}", "/v1/history/a%2Fb?limit=2", "")
	a.do(404, "GET /v1/history/{key}", "/v1/history/none", "")
	a.do(200, "POST /v1/rollback", "/v1/rollback", `{"key":"a/b","version":`+strings.Trim(etag, `"`)+`}`)
	a.do(404, "POST /v1/rollback", "/v1/rollback", `{"key":"a/b","version":1}`)
	a.do(200, "GET /v1/stats", "/v1/stats", "")
	a.do(200, "GET /v1/openapi.json", "/v1/openapi.json", "")

	operations := a.operations()
	require.NotEmpty(t, operations)
	for operation, statuses := range operations {
		require.True(t, a.called[operation], "%s is not called", operation)
		for _, s := range statuses {
			switch s {
			case "200", "201", "204", "304", "404", "409", "412":
				require.True(t, a.called[operation+" "+s], "%s is not seen to answer %s", operation, s)
			}
		}
	}
}

// operations are those of the document with the statuses that they answer.
func (a *api) operations() map[string][]string {
	model, err := a.document.BuildV3Model()
	require.NoError(a.t, err)
	all := make(map[string][]string)
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		for method, op := range item.GetOperations().FromOldest() {
			name := strings.ToUpper(method) + " " + path
			all[name] = []string{}
			for status := range op.Responses.Codes.FromOldest() {
				all[name] = append(all[name], status)
			}
		}
	}
	return all
}

// TestRefusals: what a server answers that has users, or no memory, is in the document for every operation.
func TestRefusals(t *testing.T) {
	users := new(netserver.Accounts)
	line, err := netserver.AccountLine("anna", "ro", []byte("s3cret"))
	require.NoError(t, err)
	require.NoError(t, users.Load(strings.NewReader(line)))
	a := serve(t, netserver.Config{Accounts: users})
	for operation, statuses := range a.operations() {
		_, path, _ := strings.Cut(operation, " ")
		target := strings.ReplaceAll(path, "{key}", "k")
		if path == "/v1/openapi.json" || strings.HasPrefix(operation, "HEAD") {
			continue
		}
		require.Contains(t, statuses, "503", operation)
		a.do(401, operation, target, "")
		if !strings.HasPrefix(operation, "GET") && path != "/v1/mget" && path != "/v1/txn" {
			a.do(403, operation, target, "{}", "Authorization", "Bearer s3cret")
			require.Contains(t, statuses, "507", operation)
		}
		a.do(400, operation, target+"?unknown=1", "", "Authorization", "Bearer s3cret")
	}
	var p struct{ Status int }
	r, err := http.Post(a.url+"/v1/stats", "application/json", nil)
	require.NoError(t, err)
	defer r.Body.Close()
	require.NoError(t, json.NewDecoder(r.Body).Decode(&p))
	require.Equal(t, 405, p.Status)
}
