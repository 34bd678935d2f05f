package rest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver/nettest"
	"kv/store"
)

// Where the store is one of several, what reads looks first how new it has to be, and what can't be done is answered
// with who leads, or that one has to ask again.
func TestReplica(t *testing.T) {
	s, r := nettest.StartReplica(t, nettest.Options{})
	a := serveAt(t, s)
	require.Equal(t, 201, a.do("PUT", "/v1/keys/k", "v").StatusCode)

	reads := map[string]func() response{
		"GET":     func() response { return a.do("GET", "/v1/keys/k", "") },
		"list":    func() response { return a.do("GET", "/v1/keys", "") },
		"page":    func() response { return a.do("GET", "/v1/keys?limit=1", "") },
		"history": func() response { return a.do("GET", "/v1/history/k", "") },
		"mget":    func() response { return a.post("/v1/mget", `{"keys":["k"]}`) },
		"txn":     func() response { return a.post("/v1/txn", `{"operations":[{"get":"k"}]}`) },
	}
	for name, read := range reads {
		r.Set(func() { r.Begun = nil })
		require.Equal(t, 200, read().StatusCode, name)
		r.Set(func() { require.Len(t, r.Begun, 1, name) })

		for _, refusal := range []error{store.ErrStale, store.ErrNoMajority} {
			r.Set(func() { r.Refuse = refusal })
			answer := read()
			require.Equal(t, 503, answer.StatusCode, "%s: %s", name, answer.body)
			require.Equal(t, "1", answer.Header.Get("Retry-After"), name)
			require.Contains(t, answer.body, refusal.Error(), name)
		}
		r.Set(func() { r.Refuse = nil })
	}
	require.Equal(t, 200, a.do("GET", "/v1/stats", "").StatusCode)

	r.Set(func() { r.Lost = true })
	require.Equal(t, 503, a.do("PUT", "/v1/keys/k", "w").StatusCode, "nobody knows whether it was applied")
	r.Set(func() { r.Lost, r.Leader = false, "10.0.0.2:7070" })
	for _, answer := range []response{
		a.do("PUT", "/v1/keys/k", "w"), a.do("DELETE", "/v1/keys/k", ""), a.post("/v1/mset", `{"records":[{"key":"k","value":"w"}]}`),
		a.post("/v1/delete", `{"keys":["k"]}`), a.post("/v1/incr", `{"key":"n"}`), a.post("/v1/expire", `{"key":"k","ttl":"1h"}`),
		a.post("/v1/txn", `{"operations":[{"delete":"k"}]}`),
	} {
		require.Equal(t, 421, answer.StatusCode, answer.body)
		require.Empty(t, answer.Header.Get("Location"))
		require.JSONEq(t, `{"title":"Misdirected Request","status":421,"detail":"another server leads: ask that","leader":"10.0.0.2:7070"}`, answer.body)
	}
	require.Equal(t, 200, a.do("GET", "/v1/keys/k", "").StatusCode, "reads go on")
	r.Set(func() { r.Leader = "" })
	require.Equal(t, 503, a.do("PUT", "/v1/keys/k", "w").StatusCode)
}

// A request across a loss of leadership.
func TestARequestAcrossALossOfLeadership(t *testing.T) {
	s, r := nettest.StartReplica(t, nettest.Options{})
	a := serveAt(t, s)
	for _, write := range []func() response{
		func() response { return a.do("PUT", "/v1/keys/k", "v") },
		func() response {
			return a.post("/v1/txn", `{"operations":[{"get":"k"},{"set":{"key":"k","value":"v"}},{"get":"k"}]}`)
		},
	} {
		for loss, want := range map[nettest.Loss][]int{
			{Survive: 1}: {200, 201, 204}, {Survive: 1, Known: true}: {200, 201, 204}, {Known: true}: {421}, {}: {503},
		} {
			loss.Leader = "10.0.0.2:7070"
			r.Lead()
			r.Set(func() { r.Lose = &loss })
			answer := write()
			require.Contains(t, want, answer.StatusCode, "%+v: %s", loss, answer.body)
			require.Equal(t, want[0] == 421, strings.Contains(answer.body, loss.Leader), answer.body)
		}
	}
}
