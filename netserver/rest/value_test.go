package rest_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/store"
)

func TestValue(t *testing.T) {
	a := serve(t, nettest.Options{})
	a.do("GET", "/v1/keys/k", "").problem(t, 404, "absent")
	r := a.do("PUT", "/v1/keys/k", "one\x00\xff")
	require.Equal(t, 201, r.StatusCode, r.body)
	one := r.Header.Get("ETag")
	require.Regexp(t, `^"[1-9][0-9]+"$`, one)
	require.Equal(t, strings.Trim(one, `"`), r.Header.Get("Kv-Version"))
	require.Empty(t, r.Header.Get("Kv-Expiry"))

	r = a.do("GET", "/v1/keys/k", "")
	require.Equal(t, 200, r.StatusCode)
	require.Equal(t, "one\x00\xff", r.body)
	for name, want := range map[string]string{
		"ETag": one, "Kv-Version": strings.Trim(one, `"`), "Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff",
		"Content-Length": "5", "Cache-Control": "no-cache", "Cross-Origin-Resource-Policy": "same-origin", "Access-Control-Allow-Origin": "",
	} {
		require.Equal(t, want, r.Header.Get(name), name)
	}
	head := a.do("HEAD", "/v1/keys/k", "")
	require.Empty(t, head.body)
	r.Header.Del("Date")
	head.Header.Del("Date")
	require.Equal(t, r.Header, head.Header)
	require.EqualValues(t, 5, head.ContentLength)

	r = a.do("PUT", "/v1/keys/k", "")
	require.Equal(t, 204, r.StatusCode)
	two := r.Header.Get("ETag")
	require.NotEqual(t, one, two)
	r = a.do("GET", "/v1/keys/k", "")
	require.Equal(t, 200, r.StatusCode)
	require.Empty(t, r.body)
	require.Equal(t, "0", r.Header.Get("Content-Length"))

	r = a.do("DELETE", "/v1/keys/k", "")
	require.Equal(t, 204, r.StatusCode)
	require.NotEmpty(t, r.Header.Get("Kv-Version"))
	require.Empty(t, r.Header.Get("ETag"))
	a.do("DELETE", "/v1/keys/k", "").problem(t, 404, "absent")
	a.do("GET", "/v1/keys/k?version=5", "").problem(t, 404, "--history")
	require.Equal(t, 404, a.do("HEAD", "/v1/keys/k", "").StatusCode)
	require.EqualValues(t, 2, a.Stat("set_ops"))
	require.EqualValues(t, 2, a.Stat("del_ops"))
	require.EqualValues(t, 6, a.Stat("get_ops"))
}

// TestKeys: any bytes are a key, and no two spellings of a path are two keys of which one is meant.
func TestKeys(t *testing.T) {
	a := serve(t, nettest.Options{})
	s := a.session()
	for _, key := range []string{
		"a", "a/b", "/", "//", "a//b", "../etc/passwd", "/..", "%", "%2F", " ", "+", "?", "#", "&=", ":", "\x00", "\xff\xfe", "ключ", "a\r\nb", "*", "~", "%00",
		"keys", "history", strings.Repeat("long", 5000),
	} {
		in64 := base64.RawURLEncoding.EncodeToString([]byte(key)) + "?encoding=base64url"
		r := a.do("PUT", "/v1/keys/"+url.PathEscape(key), key)
		require.Equal(t, 201, r.StatusCode, "%q: %s", key, r.body)
		require.Equal(t, key, string(s.Get([]byte(key)).Value()))
		require.Equal(t, key, a.do("GET", "/v1/keys/"+in64, "").body)
		require.Equal(t, 204, a.do("DELETE", "/v1/keys/"+in64, "").StatusCode)
	}
	for _, key := range []string{"", ".", ".."} {
		in64 := base64.RawURLEncoding.EncodeToString([]byte(key)) + "?encoding=base64url"
		require.Equal(t, 201, a.do("PUT", "/v1/keys/"+in64, "v").StatusCode)
		require.NotNil(t, s.Get([]byte(key)))
	}
	for target, status := range map[string]int{
		"/v1/keys/":                         400, // of the empty key
		"/v1/keys/%2E":                      400,
		"/v1/keys/%2e%2E":                   400,
		"/v1/keys/.":                        400,
		"/v1/keys/..":                       400,
		"/v1/keys/a/b":                      400,
		"/v1/keys//":                        400,
		"/v1/keys/../keys/a":                400,
		"/v1/keys/a/":                       400,
		"/v1/keys/a?encoding=hex":           400,
		"/v1/keys/a?encoding=":              400,
		"/v1/keys/YQ%0A?encoding=base64url": 400,
		"/v1/keys/YQ==?encoding=base64url":  400,
		"/v1/keys/YR?encoding=base64url":    400, // not as anybody writes it
		"/v1/keys/a?no=1":                   400,
		"/v1/keys/a?version=1&version=2":    400,
		"/v1/keys/a?version=0":              400,
		"/v1/keys/a?version=01":             400,
		"/v1/keys/a?%zz":                    400,
		"/v1/keys/a;b":                      404, // ; is a byte as any other
		"/v1/%6beys/a":                      404,
		"/v1/keys%2Fa":                      404,
		"/v1//keys/a":                       404,
		"/v1/./keys/a":                      404,
		"/v1/stats/":                        404,
		"/v1/":                              404,
		"/v1/none":                          404,
		"/v1/history":                       404,
		"/V1/keys/a":                        404,
	} {
		c := a.raw()
		c.send("GET " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		require.Contains(t, c.rest(), fmt.Sprintf("HTTP/1.1 %d ", status), target)
	}
}

func TestConditions(t *testing.T) {
	a := serve(t, nettest.Options{})
	put := func(value string, headers ...string) response { return a.do("PUT", "/v1/keys/k", value, headers...) }
	put("0", "If-Match", "*").problem(t, 412, "If-Match does not hold")
	require.Contains(t, put("0", "If-Match", `"5"`).body, `"version":0`)
	a.do("DELETE", "/v1/keys/k", "", "If-Match", "*").problem(t, 412, "")
	r := put("1", "If-None-Match", "*")
	require.Equal(t, 201, r.StatusCode)
	one := r.Header.Get("ETag")
	r = put("2", "If-None-Match", "*")
	r.problem(t, 412, "If-None-Match does not hold")
	require.Contains(t, r.body, `"version":`+strings.Trim(one, `"`))
	put("2", "If-None-Match", one).problem(t, 412, "")
	put("2", "If-None-Match", "W/"+one).problem(t, 412, "") // compared weakly
	put("2", "If-Match", "W/"+one).problem(t, 412, "")      // compared strongly
	put("2", "If-Match", `"7", "abc"`).problem(t, 412, "")
	put("2", "If-Match", one, "If-None-Match", "*").problem(t, 412, "If-Match or If-None-Match")
	r = put("2", "If-Match", `"7", `+one, "If-None-Match", `"7"`)
	require.Equal(t, 204, r.StatusCode, r.body)
	two := r.Header.Get("ETag")
	r = put("3", "If-Match", `"7"`, "If-Match", two) // in two lines
	require.Equal(t, 204, r.StatusCode, r.body)
	three := r.Header.Get("ETag")

	get := func(method string, headers ...string) response { return a.do(method, "/v1/keys/k", "", headers...) }
	for _, method := range []string{"GET", "HEAD"} {
		for _, held := range []string{three, "W/" + three, "*", `"1",` + three} {
			r := get(method, "If-None-Match", held)
			require.Equal(t, 304, r.StatusCode, held)
			require.Equal(t, three, r.Header.Get("ETag"))
			require.Empty(t, r.body)
		}
		require.Equal(t, 200, get(method, "If-None-Match", one).StatusCode)
		require.Equal(t, 200, get(method, "If-Match", three).StatusCode)
		require.Equal(t, 412, get(method, "If-Match", one).StatusCode)
		require.Equal(t, 404, a.do(method, "/v1/keys/none", "", "If-None-Match", "*").StatusCode)
		require.Equal(t, 404, a.do(method, "/v1/keys/none", "", "If-Match", "*").StatusCode)
	}
	for _, wrong := range []string{"", "abc", `"1`, `1"`, `"1""2"`, `"1" "2"`, "W/", `w/"1"`, `*,"1"`, ","} {
		for _, name := range []string{"If-Match", "If-None-Match"} {
			put("no", name, wrong).problem(t, 400, name)
		}
	}
	// What is not heeded is refused, where something would be changed.
	put("no", "If-Unmodified-Since", "Sat, 28 Nov 2026 19:00:00 GMT").problem(t, 400, "If-Unmodified-Since")
	put("no", "Content-Range", "bytes 0-1/5").problem(t, 400, "Content-Range")
	require.Equal(t, "3", get("GET", "If-Modified-Since", "Sat, 28 Nov 2026 19:00:00 GMT", "Range", "bytes=0-0").body)
	a.do("DELETE", "/v1/keys/k", "", "If-Match", one).problem(t, 412, "")
	require.Equal(t, 204, a.do("DELETE", "/v1/keys/k", "", "If-Match", three).StatusCode)
}

func TestExpiry(t *testing.T) {
	a := serve(t, nettest.Options{})
	put := func(headers ...string) response { return a.do("PUT", "/v1/keys/k", "v", headers...) }
	expiry := func(r response) int64 {
		n, err := strconv.ParseInt(r.Header.Get("Kv-Expiry"), 10, 64)
		require.NoError(t, err)
		return n
	}
	before := time.Now().UnixMilli()
	r := put("Kv-Ttl", "1h30m")
	require.Equal(t, 201, r.StatusCode)
	at := expiry(r)
	require.GreaterOrEqual(t, at, before+90*60*1000)
	require.LessOrEqual(t, at, time.Now().UnixMilli()+90*60*1000)
	require.Equal(t, at, expiry(a.do("GET", "/v1/keys/k", "")))
	require.Equal(t, at, expiry(a.do("HEAD", "/v1/keys/k", "")))
	require.EqualValues(t, 4102444800000, expiry(put("Kv-Expiry", "4102444800000")))
	require.Empty(t, put().Header.Get("Kv-Expiry"))

	for header, wrong := range map[string][]string{
		"Kv-Ttl":    {"", "0s", "-1s", "30", "1ns", "1.5ms", "7d", "soon", "1s 1s", "99999999999h"},
		"Kv-Expiry": {"0", "-1", "tomorrow", "1.5", "18446744073709551616", "2026-11-28T19:00:00Z"},
	} {
		for _, w := range wrong {
			put(header, w).problem(t, 400, header)
		}
	}
	put("Kv-Ttl", "1s", "Kv-Expiry", "5").problem(t, 400, "exclude")
	put("Kv-Ttl", "1s", "Kv-Ttl", "1s").problem(t, 400, "twice")
	put("Kv-Tll", "1s").problem(t, 400, "Kv-Tll")
	a.do("GET", "/v1/keys/k", "", "Kv-Ttl", "1s").problem(t, 400, "Kv-Ttl")

	r = put("Kv-Expiry", "1") // long ago
	require.Equal(t, 204, r.StatusCode)
	require.Empty(t, r.Header.Get("ETag"))
	require.NotEmpty(t, r.Header.Get("Kv-Version"))
	a.do("GET", "/v1/keys/k", "").problem(t, 404, "")
	require.Equal(t, "18446744073709551615", put("Kv-Expiry", "18446744073709551615").Header.Get("Kv-Expiry"))
}

func TestOldVersions(t *testing.T) {
	a := serve(t, nettest.Options{Store: store.Options{History: 5}})
	one := a.do("PUT", "/v1/keys/k%2F", "1", "Kv-Ttl", "1h").Header.Get("Kv-Version")
	two := a.do("PUT", "/v1/keys/k%2F", "2").Header.Get("Kv-Version")
	r := a.do("GET", "/v1/keys/k%2F?version="+one, "")
	require.Equal(t, "1", r.body)
	require.Equal(t, `"`+one+`"`, r.Header.Get("ETag"))
	require.Equal(t, 304, a.do("GET", "/v1/keys/k%2F?version="+one, "", "If-None-Match", `"`+one+`"`).StatusCode)
	a.do("GET", "/v1/keys/k%2F?version=7", "").problem(t, 404, "not kept")
	gone := a.do("DELETE", "/v1/keys/k%2F", "").Header.Get("Kv-Version")

	r = a.do("GET", "/v1/history/k%2F", "")
	require.Equal(t, 200, r.StatusCode, r.body)
	day := `"time":"` + time.Now().UTC().Format("2006-")
	for i, line := range strings.Split(r.body, "\n")[:3] {
		want := []string{`"value":null,"version":` + gone, `"value":"2","version":` + two, `"value":"1","version":` + one}[i]
		assert.Contains(t, line, `{"key":"k/",`+want+`,`+day)
	}
	require.Equal(t, 1, strings.Count(a.do("GET", "/v1/history/k%2F?limit=1", "").body, `"version":`))
	for _, wrong := range []string{"0", "-1", "x", "+1", "01", "99999999999"} {
		a.do("GET", "/v1/history/k%2F?limit="+wrong, "").problem(t, 400, "limit")
	}
	a.do("GET", "/v1/history/none", "").problem(t, 404, "")

	r = a.post("/v1/rollback", `{"key":"k/","version":`+one+`}`)
	require.Equal(t, 200, r.StatusCode, r.body)
	require.Equal(t, "1", a.do("GET", "/v1/keys/k%2F", "").body)
	a.post("/v1/rollback", `{"key":"k/","version":7}`).problem(t, 404, "")
	a.post("/v1/rollback", `{"key":"k/"}`).problem(t, 400, `"version" is missing`)
}

// TestConcurrentPuts: of many that put a value with the same condition one does, and who reads and writes back what he read, if
// nobody has meanwhile, loses nothing.
func TestConcurrentPuts(t *testing.T) {
	a := serve(t, nettest.Options{})
	var made atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			switch r := a.do("PUT", "/v1/keys/once", "v", "If-None-Match", "*"); r.StatusCode {
			case 201:
				made.Add(1)
			default:
				assert.Equal(t, 412, r.StatusCode)
			}
			for n := 0; n < 10; {
				r := a.do("GET", "/v1/keys/sum", "")
				sum, condition := 0, []string{"If-None-Match", "*"}
				if r.StatusCode == 200 {
					sum, _ = strconv.Atoi(r.body)
					condition = []string{"If-Match", r.Header.Get("ETag")}
				}
				if a.do("PUT", "/v1/keys/sum", strconv.Itoa(sum+1), condition...).StatusCode/100 == 2 {
					n++
				}
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, made.Load())
	require.Equal(t, "80", a.do("GET", "/v1/keys/sum", "").body)
}

// TestLargeValues: up to the limit of a request, to the byte, with a length told before or not.
func TestLargeValues(t *testing.T) {
	const limit = 1 << 20
	a := serve(t, nettest.Options{Config: netserver.Config{Limit: limit}})
	most := limit - 12 - 1
	for _, size := range []int{1, 4095, 4096, 4097, 65536, 70000, most} {
		value := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		for name, body := range map[string]func() (response, error){
			"length": func() (response, error) { return a.try("PUT", "/v1/keys/k", strings.NewReader(value)) },
			"chunks": func() (response, error) {
				return a.try("PUT", "/v1/keys/k", struct{ *strings.Reader }{strings.NewReader(value)})
			},
		} {
			r, err := body()
			require.NoError(t, err)
			require.Equal(t, 2, r.StatusCode/100, "%s of %d: %s", name, size, r.body)
			require.True(t, a.do("GET", "/v1/keys/k", "").body == value, "%s of %d", name, size)
		}
	}
	a.do("PUT", "/v1/keys/k", strings.Repeat("x", most+1)).problem(t, 413, "longer than")
	r, err := a.try("PUT", "/v1/keys/k", struct{ *strings.Reader }{strings.NewReader(strings.Repeat("x", most+1))})
	require.NoError(t, err)
	r.problem(t, 413, "longer than")
	require.Equal(t, http.StatusOK, a.do("HEAD", "/v1/keys/k", "").StatusCode)
}
