package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver/linearframes"
	"kv/protocol"
	"kv/protocol/client"
	"kv/store"
	"kv/store/linear"
)

// door is a connection to one node, by one of the protocols.
type door interface {
	// do has a request answered. After errElsewhere nothing was applied, after another error it may have been, or may be yet.
	do(ctx context.Context, q linear.Request) (linear.Response, error)
	Close() error
}

// notApplied reports whether a refusal of a kind that need not mean it says that nothing was applied. Of a write that
// one was under way with when its node ceased to lead, or to be a replica, it says the opposite.
func notApplied(refusal string) bool {
	return !strings.Contains(refusal, "may have been applied") && saysNotApplied.MatchString(refusal)
}

var saysNotApplied = regexp.MustCompile("read-only: |no node leads|loading|nothing was applied")

var (
	errElsewhere = errors.New("another node is to be asked")
	errBroken    = errors.New("the connection is of no use any more")
)

// doors are the ways in. What a protocol has no words for, such as a condition on a version by RESP, goes by kv frames.
var doors = []func(ctx context.Context, m *member, names keyNames,
	timeout time.Duration) (door, error){dialFrames, dialWeb, dialResp}

// keyNames is what the names of the keys begin with that one history is about.
type keyNames string

func (n keyNames) of(k int) string { return string(n) + string(linear.Key(k)) }

// outsideClient sends each request to a node by itself: reads to any, writes too, until one takes them.
type outsideClient struct {
	ctx     context.Context
	all     []*member
	names   keyNames
	dial    func(ctx context.Context, m *member, names keyNames, timeout time.Duration) (door, error)
	timeout time.Duration
	pace    time.Duration // about how long it waits between requests
	rng     *rand.Rand
	conns   []door         // nil: not connected
	why     map[string]int // requests had no answer, and how often
}

func newOutsideClient(ctx context.Context, all []*member, names keyNames, seed uint64, number int) *outsideClient {
	return &outsideClient{
		ctx: ctx, all: all, names: names, dial: doors[number%len(doors)], conns: make([]door, len(all)), why: map[string]int{}, rng: rand.New(rand.NewPCG(seed, uint64(number))),
		timeout: time.Duration(400+300*number) * time.Millisecond, pace: time.Duration(5+number) * time.Millisecond,
	}
}

func (c *outsideClient) Do(batch []linear.Request) []linear.Response {
	time.Sleep(time.Duration(c.rng.Int64N(int64(2 * c.pace)))) // the client's pace: the faults take their time
	all := make([]linear.Response, len(batch))
	for i, q := range batch {
		all[i] = c.do(q)
	}
	return all
}

func (c *outsideClient) do(q linear.Request) linear.Response {
	for c.ctx.Err() == nil {
		at := c.rng.IntN(len(c.all))
		if c.conns[at] == nil {
			d, err := c.dial(c.ctx, c.all[at], c.names, c.timeout)
			if err != nil {
				time.Sleep(10 * time.Millisecond)
				continue // nothing was sent
			}
			c.conns[at] = d
		}
		r, err := c.conns[at].do(c.ctx, q)
		if err == nil {
			return r
		}
		why := fmt.Sprintf("%T: %.100v", c.conns[at], err)
		if errors.Is(err, errBroken) {
			c.conns[at].Close()
			c.conns[at] = nil
		}
		if !errors.Is(err, errElsewhere) {
			c.why[why]++
			break
		}
		time.Sleep(time.Millisecond)
	}
	return linear.Response{Unknown: true}
}

// Close closes its connections.
func (c *outsideClient) Close() {
	for _, d := range c.conns {
		if d != nil {
			d.Close()
		}
	}
}

// reads reports whether a request changes nothing, so that it can be asked again whatever became of it.
func reads(q linear.Request) bool { return q.Kind == linear.Get || q.Kind == linear.MGet }

// frames is the door of kv frames.
type frames struct {
	*client.Client
	keyNames
}

func dialFrames(ctx context.Context, m *member, names keyNames, timeout time.Duration) (door, error) {
	c, err := client.Dial(ctx, m.listen, m.options(timeout))
	return frames{c, names}, err
}

func (f frames) do(ctx context.Context, q linear.Request) (linear.Response, error) {
	r, err := linearframes.Do(ctx, f.Client, string(f.keyNames), q)
	switch {
	case errors.Is(err, client.ErrUnknown):
		return r, fmt.Errorf("%w: %w", errBroken, err)
	case err != nil && !errors.As(err, new(*protocol.Error)):
		return r, errors.Join(errBroken, errElsewhere)
	case errors.Is(err, protocol.ErrMoved):
		return r, errElsewhere
	case errors.Is(err, protocol.ErrUnavailable) && (reads(q) || notApplied(err.Error())): // the server may be about to end
		return r, errors.Join(errBroken, errElsewhere)
	}
	return r, err
}

// TestWhatARefusalSays: a write is asked of another node only where the refusal says that it was not applied. One that
// was under way may have been, and would be applied twice.
func TestWhatARefusalSays(t *testing.T) {
	for refusal, want := range map[string]bool{
		(&store.MovedError{}).Error():                                     true,
		(&store.MovedError{Leader: "host:1"}).Error():                     true,
		"the server is shutting down: nothing was applied":                true,
		"this node was removed from its cluster: nothing was applied":     true,
		"unavailable: " + store.ErrUnknown.Error():                        false,
		"UNKNOWN " + store.ErrUnknown.Error():                             false,
		"CLUSTERDOWN " + store.ErrNoMajority.Error():                      false,
		`{"status":503,"detail":"` + store.ErrUnknown.Error() + `"}`:      false,
		`{"status":503,"detail":"` + (&store.MovedError{}).Error() + `"}`: true,
	} {
		require.Equal(t, want, notApplied(refusal), refusal)
	}
}
