package rest_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver/linearframes"
	"kv/netserver/nettest"
	"kv/protocol/client"
	"kv/store/linear"
)

// TestLinearizable: what clients see by HTTP and by kv frames, side by side, can be explained by one order of all requests.
func TestLinearizable(t *testing.T) {
	o, rounds := linear.Options{Clients: 6, Requests: 150, Batch: 1, Meet: 50, Counters: true}, 2
	if os.Getenv("KV_SOAK") != "" {
		o.Requests, rounds = 2000, 50
	}
	for round := range rounds {
		t.Run(fmt.Sprintf("seed=%d", round), func(t *testing.T) {
			o.Seed = uint64(round)
			a := serve(t, nettest.Options{})
			n := 0
			history := linear.Run(o, func() linear.Client {
				if n++; n%2 == 0 {
					return webClient{a}
				}
				c, err := client.Dial(t.Context(), a.Addr, client.Options{})
				require.NoError(t, err)
				t.Cleanup(func() { c.Close() })
				return frameClient{c, t}
			})
			require.NoError(t, linear.Check(history, 2*time.Minute))
		})
	}
}

// webClient asks by HTTP.
type webClient struct{ *api }

// webAnswer is what any of its answers may hold.
type webAnswer struct {
	Version uint64
	Index   int
	Existed int
	Value   int64
	Records []webRecord
	Results []webRecord
}

type webRecord struct {
	Value   *string
	Version uint64
	Existed bool
}

func (c webClient) Do(batch []linear.Request) []linear.Response {
	q := batch[0]
	var r response
	path := "/v1/keys/" + url.PathEscape(string(linear.Key(q.Steps[0].Key)))
	var keys, records, operations, conditions []string
	quoted := func(s string) string {
		b, err := json.Marshal(s)
		require.NoError(c.t, err)
		return string(b)
	}
	for _, s := range q.Steps {
		key := quoted(string(linear.Key(s.Key)))
		keys = append(keys, key)
		record := fmt.Sprintf(`{"key":%s,"value":%s}`, key, quoted(s.Value))
		records = append(records, record)
		operations = append(operations, map[linear.Kind]string{linear.Get: `{"get":` + key + `}`,
			linear.Set: `{"set":` + record + `}`, linear.Del: `{"delete":` + key + `}`}[s.Kind])
	}
	for _, d := range q.Conditions {
		conditions = append(conditions, fmt.Sprintf(`{"key":%s,"version":%d}`, quoted(string(linear.Key(d.Key))), d.Version))
	}
	switch q.Kind {
	case linear.Get:
		r = c.do("GET", path, "")
	case linear.Set:
		var headers []string
		for _, d := range q.Conditions {
			if headers = []string{"If-Match", fmt.Sprintf(`"%d"`, d.Version)}; d.Version == 0 {
				headers = []string{"If-None-Match", "*"}
			}
		}
		r = c.do("PUT", path, q.Steps[0].Value, headers...)
	case linear.Incr:
		condition := ""
		for _, d := range q.Conditions {
			condition = fmt.Sprintf(`,"if_version":%d`, d.Version)
		}
		r = c.post("/v1/incr", fmt.Sprintf(`{"key":%s,"by":%d%s}`, keys[0], q.Steps[0].By, condition))
	case linear.Del:
		r = c.post("/v1/delete", `{"keys":[`+strings.Join(keys, ",")+`]}`)
	case linear.MGet:
		r = c.post("/v1/mget", `{"keys":[`+strings.Join(keys, ",")+`]}`)
	case linear.MSet:
		r = c.post("/v1/mset", `{"records":[`+strings.Join(records, ",")+`]}`)
	case linear.Txn:
		r = c.post("/v1/txn", `{"conditions":[`+strings.Join(conditions, ",")+`],"operations":[`+
			strings.Join(operations, ",")+`]}`)
	}
	return []linear.Response{c.response(q, r)}
}

func (c webClient) response(q linear.Request, r response) linear.Response {
	answer := linear.Response{Results: make([]linear.Result, len(q.Steps))}
	version, _ := strconv.ParseUint(r.Header.Get("Kv-Version"), 10, 64)
	if q.Kind == linear.Get || q.Kind == linear.Set {
		switch r.StatusCode {
		case 404:
			return answer
		case 200:
			answer.Results[0] = linear.Result{Found: true, Value: r.body, Version: version}
			return answer
		case 201, 204:
			answer.Version = version
			return answer
		}
	}
	var a webAnswer
	if q.Kind == linear.Del {
		require.Equal(c.t, 200, r.StatusCode, r.body)
	}
	require.NoError(c.t, json.Unmarshal([]byte(r.body), &a), r.body)
	switch {
	case r.StatusCode == 412, r.StatusCode == 409 && strings.Contains(r.body, `"version"`):
		return linear.Response{Conflict: true, Index: a.Index, Version: a.Version}
	case r.StatusCode == 409 && q.Kind == linear.Incr:
		return linear.Response{Refused: true}
	}
	require.Equal(c.t, 200, r.StatusCode, r.body)
	answer.Version, answer.Existed = a.Version, a.Existed
	if q.Kind == linear.Incr {
		answer.Results[0].Value = strconv.FormatInt(a.Value, 10)
	}
	for i, one := range append(a.Records, a.Results...) {
		if answer.Results[i].Existed = one.Existed; one.Value != nil {
			answer.Results[i] = linear.Result{Found: true, Value: *one.Value, Version: one.Version}
		}
	}
	return answer
}

// frameClient asks by kv frames.
type frameClient struct {
	*client.Client
	t *testing.T
}

func (c frameClient) Do(batch []linear.Request) []linear.Response {
	r, err := linearframes.Do(c.t.Context(), c.Client, "", batch[0])
	require.NoError(c.t, err)
	return []linear.Response{r}
}
