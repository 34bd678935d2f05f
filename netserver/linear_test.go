package netserver_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver/nettest"
	"kv/protocol"
	"kv/store/linear"
)

// soak is set for the long form of the tests that have one: KV_SOAK=1.
var soak = os.Getenv("KV_SOAK") != ""

// TestLinearizable: what clients see over TCP can be explained by one order of all requests.
func TestLinearizable(t *testing.T) {
	o, rounds := linear.Options{Clients: 6, Requests: 250, Batch: 3, Counters: true}, 3
	if soak {
		o.Requests, rounds = 2000, 100
	}
	for round := range rounds {
		// A server each, which is gone before the next one starts: while a history is checked its connections stay idle,
		// and would settle in new goroutines.
		t.Run(fmt.Sprintf("seed=%d", round), func(t *testing.T) {
			o.Seed = uint64(round)
			s := nettest.Start(t, nettest.Options{})
			history := linear.Run(o, func() linear.Client { return &linearClient{conn: s.Dial(t), t: t} })
			require.NoError(t, linear.Check(history, 2*time.Minute))
		})
	}
}

// linearClient sends a batch in one piece, then reads the answers.
type linearClient struct {
	conn *nettest.Conn
	t    *testing.T
}

func (c *linearClient) Do(batch []linear.Request) []linear.Response {
	var frames []byte
	for i, q := range batch {
		frames = appendLinear(frames, uint32(i), q)
	}
	c.conn.Send(frames)
	responses := make([]linear.Response, len(batch))
	for i, q := range batch {
		f := c.conn.Next()
		require.EqualValues(c.t, i, f.ID)
		responses[i] = c.response(q, f)
	}
	return responses
}

func appendLinear(dst []byte, id uint32, q linear.Request) []byte {
	var keys [][]byte
	var pairs []protocol.Pair
	var txn protocol.Txn
	for _, s := range q.Steps {
		key := linear.Key(s.Key)
		keys = append(keys, key)
		pairs = append(pairs, protocol.Pair{Key: key, Value: []byte(s.Value)})
		kind := map[linear.Kind]protocol.TxnKind{linear.Get: protocol.TxnGet, linear.Set: protocol.TxnSet, linear.Del: protocol.TxnDel}[s.Kind]
		txn.Ops = append(txn.Ops, protocol.TxnOp{Kind: kind, Key: key, Value: []byte(s.Value)})
	}
	switch q.Kind {
	case linear.Get:
		return protocol.Get{Key: keys[0], WithMeta: true}.AppendTo(dst, id)
	case linear.Set:
		set := protocol.Set{Key: keys[0], Value: pairs[0].Value}
		for _, c := range q.Conditions {
			set.Conditional, set.IfVersion = true, c.Version
		}
		return set.AppendTo(dst, id)
	case linear.Incr:
		incr := protocol.Incr{Key: keys[0], By: q.Steps[0].By}
		for _, c := range q.Conditions {
			incr.Conditional, incr.IfVersion = true, c.Version
		}
		return incr.AppendTo(dst, id)
	case linear.Del:
		return protocol.AppendKeys(dst, protocol.OpDel, 0, id, keys...)
	case linear.MGet:
		return protocol.AppendKeys(dst, protocol.OpMGet, protocol.FlagWithMeta, id, keys...)
	case linear.MSet:
		return protocol.AppendMSet(dst, id, pairs...)
	}
	txn.WithMeta = true
	for _, c := range q.Conditions {
		txn.Conditions = append(txn.Conditions, protocol.Condition{Version: c.Version, Key: linear.Key(c.Key)})
	}
	return txn.AppendTo(dst, id)
}

func (c *linearClient) response(q linear.Request, f nettest.Frame) (r linear.Response) {
	err := protocol.ParseError(f.Opcode, f.Status(), f.Body)
	if e, ok := err.(*protocol.Error); ok && e.Status == protocol.StatusConflict {
		return linear.Response{Conflict: true, Index: e.Index, Version: e.Version}
	}
	if q.Kind == linear.Get && f.Status() == protocol.StatusNotFound {
		return linear.Response{Results: make([]linear.Result, 1)}
	}
	if q.Kind == linear.Incr && f.Status() == protocol.StatusBadRequest {
		return linear.Response{Refused: true}
	}
	require.NoError(c.t, err)

	var values []protocol.Value
	r.Results = make([]linear.Result, len(q.Steps))
	switch q.Kind {
	case linear.Get:
		var v protocol.Value
		v, err = protocol.ParseValue(true, f.Body)
		values = append(values, v)
	case linear.Set, linear.MSet:
		r.Version, err = protocol.ParseVersion(f.Body)
	case linear.Incr:
		var answer protocol.IncrResponse
		answer, err = protocol.ParseIncrResponse(f.Body)
		r.Version, r.Results[0].Value = answer.Version, strconv.FormatInt(answer.Value, 10)
	case linear.Del:
		var existed uint32
		existed, r.Version, err = protocol.ParseDeleted(f.Body)
		r.Existed = int(existed)
	case linear.MGet:
		values, err = protocol.ParseValues(nil, true, f.Body)
	case linear.Txn:
		var answer protocol.TxnResponse
		answer, err = protocol.ParseTxnResponse(true, f.Body)
		r.Version = answer.Version
		for i, result := range answer.Results {
			values = append(values, result.Value)
			r.Results[i].Existed = result.Existed
		}
	}
	require.NoError(c.t, err)
	for i, v := range values {
		r.Results[i].Found, r.Results[i].Value, r.Results[i].Version = v.Found, string(v.Data), v.Version
	}
	return r
}
