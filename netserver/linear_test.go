package netserver_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver/linearframes"
	"kv/netserver/nettest"
	"kv/store/linear"
)

// soak is set for the long form of the tests that have one: KV_SOAK=1.
var soak = os.Getenv("KV_SOAK") != ""

// TestLinearizable: what clients see over TCP can be explained by one order of all requests.
func TestLinearizable(t *testing.T) {
	o, rounds := linear.Options{Clients: 6, Requests: 250, Batch: 3, Meet: 50, Counters: true}, 3
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
		frames = linearframes.Append(frames, uint32(i), q)
	}
	c.conn.Send(frames)
	responses := make([]linear.Response, len(batch))
	for i, q := range batch {
		f := c.conn.Next()
		require.EqualValues(c.t, i, f.ID)
		r, err := linearframes.Parse(q, f.Opcode, f.Status(), f.Body)
		require.NoError(c.t, err)
		responses[i] = r
	}
	return responses
}
