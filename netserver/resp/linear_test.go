package resp_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
)

// soak is set for the long form of the tests that have one: KV_SOAK=1.
var soak = os.Getenv("KV_SOAK") != ""

// linearKeys are the keys that all clients fight for.
var linearKeys = [3]string{"x", "y", "z"}

// contents are what the keys hold, "" for one that is absent.
type contents [len(linearKeys)]string

// action is what a client does, whichever protocol it speaks; its answer is in the words of client.read.
type action struct {
	kind string // get, set, incr, del, mget, mset, txn: get of one key and set of another
	a, b int    // keys
	to   string // a value
}

// step is what the action leaves of the contents, and what it answers.
func (q action) step(s contents) (contents, string) {
	show := func(v string) string {
		if v == "" {
			return "nil"
		}
		return `"` + v + `"`
	}
	switch q.kind {
	case "get":
		return s, show(s[q.a])
	case "set":
		s[q.a] = q.to
		return s, "OK"
	case "incr":
		n, _ := strconv.ParseInt("0"+s[q.a], 10, 64)
		s[q.a] = fmt.Sprint(n + 1)
		return s, fmt.Sprintf("(%d)", n+1)
	case "del":
		n := 0
		for _, k := range []int{q.a, q.b} {
			if s[k] != "" {
				n++
			}
			s[k] = ""
		}
		return s, fmt.Sprintf("(%d)", n)
	case "mget":
		return s, "[" + show(s[q.a]) + " " + show(s[q.b]) + "]"
	case "mset":
		s[q.a], s[q.b] = q.to, q.to
		return s, "OK"
	}
	answer := "[" + show(s[q.a]) + " OK]"
	s[q.b] = q.to
	return s, answer
}

// viaRESP does the action as a client of Redis.
func (q action) viaRESP(c *client) (string, error) {
	a, b := linearKeys[q.a], linearKeys[q.b]
	in, answers := "", 1
	switch q.kind {
	case "get", "incr":
		in = request(q.kind, a)
	case "set":
		in = request("set", a, q.to)
	case "del", "mget":
		in = request(q.kind, a, b)
	case "mset":
		in = request("mset", a, q.to, b, q.to)
	default:
		in, answers = request("multi")+request("get", a)+request("set", b, q.to)+request("exec"), 4
	}
	if _, err := c.Write([]byte(in)); err != nil {
		return "", err
	}
	for ; answers > 1; answers-- {
		if _, err := c.read(); err != nil {
			return "", err
		}
	}
	return c.read()
}

// viaFrames does the action in kv frames.
func (q action) viaFrames(c *nettest.Conn) (string, error) {
	a, b, to := []byte(linearKeys[q.a]), []byte(linearKeys[q.b]), []byte(q.to)
	var frame []byte
	switch q.kind {
	case "get":
		frame = protocol.Get{Key: a}.AppendTo(nil, 1)
	case "set":
		frame = protocol.Set{Key: a, Value: to}.AppendTo(nil, 1)
	case "incr":
		frame = protocol.Incr{Key: a, By: 1}.AppendTo(nil, 1)
	case "del":
		frame = protocol.AppendKeys(nil, protocol.OpDel, 0, 1, a, b)
	case "mget":
		frame = protocol.AppendKeys(nil, protocol.OpMGet, 0, 1, a, b)
	case "mset":
		frame = protocol.AppendMSet(nil, 1, protocol.Pair{Key: a, Value: to}, protocol.Pair{Key: b, Value: to})
	default:
		frame = protocol.Txn{Ops: []protocol.TxnOp{{Kind: protocol.TxnGet, Key: a},
			{Kind: protocol.TxnSet, Key: b, Value: to}}}.AppendTo(nil, 1)
	}
	if _, err := c.Write(frame); err != nil {
		return "", err
	}
	f, err := c.ReadFrame()
	if err != nil {
		return "", err
	}
	show := func(v protocol.Value) string {
		if !v.Found {
			return "nil"
		}
		return `"` + string(v.Data) + `"`
	}
	switch q.kind {
	case "get":
		if f.Status() == protocol.StatusNotFound {
			return "nil", nil
		}
		v, err := protocol.ParseValue(false, f.Body)
		return show(v), err
	case "incr":
		r, err := protocol.ParseIncrResponse(f.Body)
		return fmt.Sprintf("(%d)", r.Value), err
	case "del":
		n, _, err := protocol.ParseDeleted(f.Body)
		return fmt.Sprintf("(%d)", n), err
	case "mget":
		all, err := protocol.ParseValues(nil, false, f.Body)
		if err != nil {
			return "", err
		}
		return "[" + show(all[0]) + " " + show(all[1]) + "]", nil
	case "txn":
		r, err := protocol.ParseTxnResponse(false, f.Body)
		if err != nil {
			return "", err
		}
		return "[" + show(r.Results[0].Value) + " OK]", nil
	}
	return "OK", protocol.ParseError(f.Opcode, f.Status(), f.Body)
}

// TestProtocolsAreLinearizable: what clients of both protocols see at one store, one order of all that they did explains.
func TestProtocolsAreLinearizable(t *testing.T) {
	rounds, requests := 3, 150
	if soak {
		rounds, requests = 100, 2000
	}
	model := porcupine.Model{
		Init: func() any { return contents{} },
		Step: func(state, input, output any) (bool, any) {
			next, answer := input.(action).step(state.(contents))
			return answer == output, next
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprint(input, " -> ", output) },
	}
	for round := range rounds {
		t.Run(fmt.Sprintf("seed=%d", round), func(t *testing.T) {
			s := nettest.Start(t, withDoor(netserver.Config{}))
			var mu sync.Mutex // guards history and failed
			var history []porcupine.Operation
			var failed error
			var clients sync.WaitGroup
			begin := time.Now()
			for id := range 6 {
				var do func(action) (string, error)
				if id%2 == 0 {
					c := s.Dial(t)
					do = func(q action) (string, error) { return q.viaFrames(c) }
				} else {
					c := dial(t, s)
					do = func(q action) (string, error) { return q.viaRESP(c) }
				}
				clients.Go(func() {
					random := rand.New(rand.NewPCG(uint64(round), uint64(id)))
					for n := range requests {
						a := random.IntN(len(linearKeys))
						q := action{
							kind: []string{"get", "set", "incr", "del", "mget", "mset", "txn"}[random.IntN(7)],
							a:    a, b: (a + 1 + random.IntN(len(linearKeys)-1)) % len(linearKeys),
							to: fmt.Sprint(1_000_000*(id+1) + 100*n), // a number that nobody else sets
						}
						called := time.Since(begin)
						answer, err := do(q)
						mu.Lock()
						history = append(history, porcupine.Operation{ClientId: id, Input: q, Call: int64(called),
							Output: answer, Return: int64(time.Since(begin))})
						if err != nil && failed == nil {
							failed = fmt.Errorf("%v: %w", q, err)
						}
						mu.Unlock()
						if err != nil {
							return
						}
					}
				})
			}
			clients.Wait()
			require.NoError(t, failed)
			result, _ := porcupine.CheckOperationsVerbose(model, history, 2*time.Minute)
			require.Equal(t, porcupine.Ok, result)
		})
	}
}
