package rest_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
)

func TestManyKeys(t *testing.T) {
	a := serve(t, nettest.Options{})
	r := a.post("/v1/mset", `{"records":[{"key":"a","value":"1"},{"key":{"base64":"/w=="},"value":{"base64":"AAD/"},"expiry":4102444800000},{"key":"","value":"","version":7,"expiry":null},{"key":"a","value":"2"}]}`)
	require.Equal(t, 200, r.StatusCode, r.body)
	require.Equal(t, "application/json", r.Header.Get("Content-Type"))
	v := r.body[len(`{"version":`) : len(r.body)-2]
	require.Equal(t, fmt.Sprintf("{\"records\":[{\"key\":\"a\",\"value\":\"2\",\"version\":%[1]s,\"expiry\":null},\n{\"key\":\"none\",\"value\":null,\"version\":0,\"expiry\":null},\n"+
		"{\"key\":{\"base64\":\"/w==\"},\"value\":{\"base64\":\"AAD/\"},\"version\":%[1]s,\"expiry\":4102444800000},\n{\"key\":\"\",\"value\":\"\",\"version\":%[1]s,\"expiry\":null}]}\n", v),
		a.post("/v1/mget", `{"keys":["a","none",{"base64":"/w=="},""]}`).body)
	r = a.post("/v1/delete", `{"keys":["a","a","none",""]}`)
	require.Regexp(t, `^{"existed":2,"version":[1-9][0-9]+}\n$`, r.body)
	require.Equal(t, "{\"existed\":0,\"version\":0}\n", a.post("/v1/delete", `{"keys":["none"]}`).body)
	for target, body := range map[string]string{"mget": `{"keys":[]}`, "delete": `{"keys":[]}`,
		"mset": `{"records":[]}`, "txn": `{"operations":[]}`} {
		require.Equal(t, 200, a.post("/v1/"+target, body).StatusCode)
	}
	require.Regexp(t, `"expiry":[1-9]`, func() string {
		a.post("/v1/mset", `{"records":[{"key":"t","value":"v","ttl":"1m"}]}`)
		return a.post("/v1/mget", `{"keys":["t"]}`).body
	}())
}

func TestTxn(t *testing.T) {
	a := serve(t, nettest.Options{})
	r := a.post("/v1/txn", `{"conditions":[{"key":"a","version":0}],"operations":[{"get":"a"},{"set":{"key":"a","value":"1","ttl":"1h"}},{"get":"a"},{"delete":"b"},{"delete":{"base64":"YQ=="}}]}`)
	require.Equal(t, 200, r.StatusCode, r.body)
	require.Regexp(t, `^{"results":\[{"key":"a","value":null,"version":0,"expiry":null},\n{},\n{"key":"a","value":"1","version":[0-9]+,"expiry":[0-9]+},\n{"existed":false},\n{"existed":true}\],"version":[0-9]+}\n$`, r.body)
	a.do("PUT", "/v1/keys/b", "x")
	r = a.post("/v1/txn", `{"operations":[{"set":{"key":"c","value":"1"}}],"conditions":[{"key":"a","version":0},{"key":"b","version":5}]}`)
	r.problem(t, 409, "a condition does not hold")
	require.Regexp(t, `"version":[1-9][0-9]+,"index":1}`, r.body)
	require.Equal(t, 404, a.do("GET", "/v1/keys/c", "").StatusCode)
	require.Equal(t, "{\"results\":[],\"version\":0}\n", a.post("/v1/txn", `{"operations":[]}`).body)

	// The answer is larger than what needs no memory of its own.
	a.do("PUT", "/v1/keys/large", strings.Repeat("x", 100_000))
	r = a.post("/v1/txn", `{"operations":[{"get":"large"},{"set":{"key":"d","value":"1"}}]}`)
	require.Contains(t, r.body, `"value":"xxxx`)
	require.Len(t, r.body, 100_000+len(`{"results":[{"key":"large","value":"","version":1234567890123456,"expiry":null},`+"\n"+`{}],"version":1234567890123456}`+"\n"))
}

func TestChanges(t *testing.T) {
	a := serve(t, nettest.Options{})
	require.Regexp(t, `^{"value":1,"version":[0-9]+}\n$`, a.post("/v1/incr", `{"key":"n"}`).body)
	require.Contains(t, a.post("/v1/incr", `{"key":"n","by":-11}`).body, `{"value":-10,`)
	require.Equal(t, "-10", a.do("GET", "/v1/keys/n", "").body)
	require.Contains(t, a.post("/v1/incr", `{"key":"m","by":9223372036854775807,"ttl":"1h"}`).body,
		`{"value":9223372036854775807,`)
	a.post("/v1/incr", `{"key":"m"}`).problem(t, 409, "64 bits")
	expiry := a.do("HEAD", "/v1/keys/m", "").Header.Get("Kv-Expiry")
	require.NotEmpty(t, expiry)
	a.post("/v1/incr", `{"key":"m","by":-1,"ttl":"2h"}`)
	require.Equal(t, expiry, a.do("HEAD", "/v1/keys/m", "").Header.Get("Kv-Expiry"), "the one that it has")
	a.do("PUT", "/v1/keys/s", "text")
	a.post("/v1/incr", `{"key":"s"}`).problem(t, 409, "not a whole number")
	a.post("/v1/incr", `{"key":"s","by":9223372036854775808}`).problem(t, 400, "by: a whole number")
	a.post("/v1/incr", `{"key":"s","by":1.0}`).problem(t, 400, "by: a whole number")

	require.Equal(t, 200, a.post("/v1/expire", `{"key":"s","expiry":4102444800000}`).StatusCode)
	r := a.do("GET", "/v1/keys/s", "")
	require.Equal(t, "text", r.body)
	require.Equal(t, "4102444800000", r.Header.Get("Kv-Expiry"))
	require.Contains(t, a.post("/v1/persist", `{"key":"s"}`).body, `{"version":`)
	require.Empty(t, a.do("HEAD", "/v1/keys/s", "").Header.Get("Kv-Expiry"))
	version := a.do("HEAD", "/v1/keys/s", "").Header.Get("Kv-Version")
	require.Equal(t, `{"version":`+version+"}\n", a.post("/v1/persist", `{"key":"s"}`).body)
	for _, what := range []string{`incr {"key":"m",`, `expire {"key":"s","ttl":"1s",`, `persist {"key":"s",`} {
		target, body, _ := strings.Cut(what, " ")
		r := a.post("/v1/"+target, body+`"if_version":5}`)
		r.problem(t, 409, "the condition does not hold")
		require.Regexp(t, `"version":[1-9][0-9]+}`, r.body)
		require.NotContains(t, r.body, "index")
	}
	require.Equal(t, 200, a.post("/v1/expire", `{"key":"s","ttl":"1h","if_version":`+version+`}`).StatusCode)
	require.Equal(t, 200, a.post("/v1/incr", `{"key":"made","if_version":0}`).StatusCode)
	a.post("/v1/expire", `{"key":"none","ttl":"1h","if_version":0}`).problem(t, 404, "")
	a.post("/v1/expire", `{"key":"s"}`).problem(t, 400, "ttl or expiry is missing")
	a.post("/v1/expire", `{"key":"s","ttl":null}`).problem(t, 400, "ttl or expiry is missing")
	a.post("/v1/expire", `{"key":"none","ttl":"1s"}`).problem(t, 404, "")
	a.post("/v1/persist", `{"key":"none"}`).problem(t, 404, "")
	require.Equal(t, 200, a.post("/v1/expire", `{"key":"s","expiry":1}`).StatusCode)
	require.Equal(t, 404, a.do("GET", "/v1/keys/s", "").StatusCode)
}

// TestStrictJSON: what is not exactly a document of the operation is refused, says where, and changes nothing.
func TestStrictJSON(t *testing.T) {
	a := serve(t, nettest.Options{})
	for _, tt := range []struct{ target, body, detail string }{
		{"mget", ``, "ends where an object is wanted"},
		{"mget", `[]`, "an object is wanted"},
		{"mget", `null`, "an object is wanted"},
		{"mget", `{}`, `"keys" is missing`},
		{"mget", `{"keys":["a"]} x`, "behind the document"},
		{"mget", `{"keys":["a"]}{"keys":["a"]}`, "behind the document"},
		{"mget", `{"keys":["a"],"keys":["b"]}`, `"keys" is there twice`},
		{"mget", `{"keys":["a"],"k\u0065ys":["b"]}`, `"keys" is there twice`},
		{"mget", `{"Keys":["a"]}`, `"Keys" is written "keys"`},
		{"mget", `{"keys":["a"],"more":1}`, `no member is called "more"`},
		{"mget", `{"keys":["a",]}`, "keys[1]: a string"},
		{"mget", `{"keys":["a"],}`, "a string is wanted"},
		{"mget", `{"keys":["a"}`, "a comma or ]"},
		{"mget", `{"keys":["a"`, "a comma or ]"},
		{"mget", `{"keys":"a"}`, "keys: an array is wanted"},
		{"mget", `{"keys":[5]}`, "keys[0]: a string or"},
		{"mget", `{"keys":[null]}`, "keys[0]: a string or"},
		{"mget", `{"keys":["a" "b"]}`, "a comma or ]"},
		{"mget", `{"keys" ["a"]}`, "a colon"},
		{"mget", `{keys:["a"]}`, "a string is wanted"},
		{"mget", `{'keys':["a"]}`, "a string is wanted"},
		{"mget", "{\"keys\":[\"a\nb\"]}", "keys[0]: a control character"},
		{"mget", "{\"keys\":[\"\xff\"]}", "keys[0]: a string that is not UTF-8"},
		{"mget", "{\"keys\":[\"\xed\xa0\x80\"]}", "keys[0]: a string that is not UTF-8"},
		{"mget", `{"keys":["\ud83d"]}`, "keys[0]: half a surrogate pair"},
		{"mget", `{"keys":["\ud83dA"]}`, "keys[0]: half a surrogate pair"},
		{"mget", `{"keys":["\x"]}`, "keys[0]: no such escape"},
		{"mget", `{"keys":["\u12"]}`, "keys[0]: no such escape"},
		{"mget", `{"keys":["a`, "keys[0]: a string that does not end"},
		{"mget", `{"keys":["a\`, "keys[0]: a string that does not end"},
		{"mget", `{"keys":[{}]}`, "keys[0]: neither a string nor"},
		{"mget", `{"keys":[{"base64":"/w"}]}`, "keys[0].base64: not base64"},
		{"mget", `{"keys":[{"base64":"/w==\n"}]}`, "not base64"},
		{"mget", `{"keys":[{"base64":"/x=="}]}`, "not base64"},
		{"mget", `{"keys":[{"base64":"/w==","a":1}]}`, "no member"},
		{"mget", "\xef\xbb\xbf{\"keys\":[]}", "an object is wanted"},
		{"mget", strings.Repeat("[", 100_000), "an object is wanted"},
		{"mget", `{"keys":` + strings.Repeat("[", 100_000), "keys[0]: a string"},
		{"mset", `{"records":[{"key":"x"}]}`, `records[0]: "value" is missing`},
		{"mset", `{"records":[{"key":"x","value":null}]}`, "records[0].value"},
		{"mset", `{"records":[{"key":"x","value":"v","ttl":"1s","expiry":5}]}`, "exclude each other"},
		{"mset", `{"records":[{"key":"x","value":"v","ttl":30}]}`, "records[0].ttl: a string"},
		{"mset", `{"records":[{"key":"x","value":"v","expiry":0}]}`, "records[0].expiry"},
		{"mset", `{"records":[{"key":"x","value":"v","expiry":1e3}]}`, "not 1e3"},
		{"mset", `{"records":[{"key":"x","value":"v","expiry":18446744073709551616}]}`, "records[0].expiry"},
		{"mset", `{"records":[{"key":"x","value":"v","expiry":-5}]}`, "records[0].expiry"},
		{"mset", `{"records":[{"key":"x","value":"v","expiry":05}]}`, "records[0].expiry"},
		{"mset", `{"records":[{"key":"x","value":"v"},{"key":"x","value":1}]}`, "records[1].value"},
		{"txn", `{"conditions":[]}`, `"operations" is missing`},
		{"txn", `{"operations":[{}]}`, "operations[0]: an operation is one of"},
		{"txn", `{"operations":[{"get":"a","delete":"a"}]}`, "operations[0].delete: an operation is one of"},
		{"txn", `{"operations":[{"incr":"a"}]}`, "no member is called"},
		{"txn", `{"operations":[{"set":{"key":"x","value":"v"}}],"conditions":[{"key":"a"}]}`,
			`conditions[0]: "version" is missing`},
	} {
		a.post("/v1/"+tt.target, tt.body).problem(t, 400, tt.detail)
	}
	require.Zero(t, a.Stat("keys"))
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
		"application/jsonp", "application/json-patch+json"} {
		a.do("POST", "/v1/mset", `{"records":[]}`, "Content-Type", kind).problem(t, 415, "application/json")
	}
	require.Equal(t, 200, a.do("POST", "/v1/mset", ` {"records" : [ ] } `, "Content-Type",
		"Application/JSON; charset=utf-8").StatusCode)
	a.do("POST", "/v1/mset", "x", "Content-Type", "application/json", "Content-Encoding",
		"gzip").problem(t, 415, "Content-Encoding")
	a.do("PUT", "/v1/keys/x", "x", "Content-Encoding", "gzip").problem(t, 415, "Content-Encoding")
	a.do("POST", "/v1/mset", `{"records":[]}`, "Content-Type", "application/json", "If-Match", "*").problem(t, 400, "If-Match")
	for target, allow := range map[string]string{"mset": "POST", "keys": "GET, HEAD",
		"keys/a": "DELETE, GET, HEAD, PUT", "stats": "GET, HEAD", "history/a": "GET, HEAD"} {
		for _, method := range []string{"PATCH", "OPTIONS", "TRACE", "MOVE", "get"} {
			r := a.do(method, "/v1/"+target, "")
			r.problem(t, 405, method)
			require.Equal(t, allow, r.Header.Get("Allow"))
		}
	}
}

type line struct {
	Key, Value any
	Version    uint64
	Expiry     *uint64
}

func lines(t *testing.T, body string) (all []line) {
	t.Helper()
	in := bufio.NewScanner(strings.NewReader(body))
	in.Buffer(nil, 64<<20)
	for in.Scan() {
		var l line
		require.NoError(t, json.Unmarshal(in.Bytes(), &l), in.Text())
		all = append(all, l)
	}
	return all
}

func TestList(t *testing.T) {
	a := serve(t, nettest.Options{})
	require.Empty(t, a.do("GET", "/v1/keys", "").body)
	s := a.session()
	want := make(map[string]string)
	for i := range 3000 {
		key := fmt.Sprintf("k:%d", i)
		want[key] = strings.Repeat("v", i%7)
		require.NoError(t, s.put(key, want[key]))
	}
	require.NoError(t, s.put("\xff/", "\xfe"))
	r := a.do("GET", "/v1/keys?prefix=k:", "")
	require.Equal(t, "application/x-ndjson", r.Header.Get("Content-Type"))
	got := make(map[string]string)
	for _, l := range lines(t, r.body) {
		got[l.Key.(string)] = l.Value.(string)
		require.NotZero(t, l.Version)
	}
	require.Equal(t, want, got)
	require.Regexp(t, `^{"key":{"base64":"/y8="},"value":{"base64":"/g=="},"version":[0-9]+,"expiry":null}\n$`,
		a.do("GET", "/v1/keys?prefix=%FF", "").body)
	require.Regexp(t, `^{"key":{"base64":"/y8="},"version":[0-9]+,"expiry":null}\n$`,
		a.do("GET", "/v1/keys?prefix=%FF/&values=false", "").body)
	require.Len(t, lines(t, a.do("GET", "/v1/keys", "").body), 3001)
	require.Empty(t, a.do("HEAD", "/v1/keys", "").body)

	// Page by page.
	keys := make(map[any]int)
	for cursor, pages := "", 0; ; pages++ {
		target := "/v1/keys?prefix=k:&limit=700&values=false"
		if cursor != "" {
			target += "&cursor=" + url.QueryEscape(cursor)
		}
		r := a.do("GET", target, "")
		require.Equal(t, 200, r.StatusCode, r.body)
		for _, l := range lines(t, r.body) {
			keys[l.Key]++
			require.Nil(t, l.Value)
		}
		if cursor = r.Header.Get("Kv-Cursor"); cursor == "" {
			require.Greater(t, pages, 2)
			break
		}
	}
	require.Len(t, keys, 3000)
	for key, n := range keys {
		require.Equal(t, 1, n, key)
	}
	for query, detail := range map[string]string{
		"limit=0": "limit", "limit=10001": "limit", "limit=1.5": "limit", "limit=": "limit", "values=no": "values", "values=": "values", "cursor=": "cursor",
		"cursor=!": "cursor", "cursor=AAAA": "stale cursor", "prefix=a&prefix=b": "twice", "what=1": "no parameter", "prefix=%zz": "percent-encoded",
	} {
		a.do("GET", "/v1/keys?"+query, "").problem(t, 400, detail)
	}
}

// TestListOfLargeValues: a list may be many times as long as the memory that answers have.
func TestListOfLargeValues(t *testing.T) {
	a := serve(t, nettest.Options{Config: netserver.Config{OutputMemory: 1 << 20, ClientOutput: 512 << 10}})
	s := a.session()
	value := strings.Repeat("é", 100<<10)
	binary := "\xff" + value
	for i := range 20 {
		v := value
		if i%2 == 0 {
			v = binary
		}
		require.NoError(t, s.put(fmt.Sprint(i), v))
	}
	r := a.do("GET", "/v1/keys", "")
	require.Equal(t, http.StatusOK, r.StatusCode)
	all := lines(t, r.body)
	require.Len(t, all, 20)
	for _, l := range all {
		if text, ok := l.Value.(string); ok {
			require.True(t, text == value)
		} else {
			require.Contains(t, l.Value, "base64")
		}
	}
	r = a.do("GET", "/v1/keys?limit=100", "")
	require.Less(t, len(lines(t, r.body)), 4, "what one answer may hold")
	require.NotEmpty(t, r.Header.Get("Kv-Cursor"))
	a.post("/v1/mget", `{"keys":["0","1","2"]}`).problem(t, 413, "--max-client-output")
	a.post("/v1/txn", `{"operations":[{"get":"0"},{"get":"1"},{"get":"2"},{"delete":"0"}]}`).problem(t, 413, "")
	require.Equal(t, 200, a.do("GET", "/v1/keys/0", "").StatusCode, "nothing was deleted")
}

func TestStats(t *testing.T) {
	a := serve(t, nettest.Options{})
	a.do("PUT", "/v1/keys/k", "v")
	a.do("GET", "/v1/keys/none", "")
	var figures map[string]uint64
	require.NoError(t, json.Unmarshal([]byte(a.do("GET", "/v1/stats", "").body), &figures))
	require.EqualValues(t, 1, figures["keys"])
	require.EqualValues(t, 1, figures["set_ops"])
	require.EqualValues(t, 1, figures["misses"])
	require.EqualValues(t, 2, figures["requests"])
	a.do("PUT", "/v1/keys/k", "v", "If-None-Match", "*")
	a.do("GET", "/v1/keys/k?no=1", "")
	require.EqualValues(t, 1, a.Stat("conflicts"))
}

// TestListOfFew: few keys among many are found though most pages have none of them.
func TestListOfFew(t *testing.T) {
	a := serve(t, nettest.Options{})
	s := a.session()
	for i := range 60_000 {
		require.NoError(t, s.put(fmt.Sprintf("many:%d", i), ""))
	}
	for i := range 3 {
		require.NoError(t, s.put(fmt.Sprintf("few:%d", i), ""))
	}
	require.Len(t, lines(t, a.do("GET", "/v1/keys?prefix=few:", "").body), 3)
	found, empty := 0, 0
	for cursor := ""; ; {
		r := a.do("GET", "/v1/keys?prefix=few:&limit=2"+cursor, "")
		n := len(lines(t, r.body))
		if found += n; n == 0 {
			empty++
		}
		if cursor = r.Header.Get("Kv-Cursor"); cursor == "" {
			break
		}
		cursor = "&cursor=" + cursor
	}
	require.Equal(t, 3, found)
	require.NotZero(t, empty)
}
