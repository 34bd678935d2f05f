package client

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/protocol"
)

// fakeCluster is servers at the addresses a:1, b:1, … that know who leads, and answer as servers of a cluster do.
type fakeCluster struct {
	mu     sync.Mutex
	leader map[string]string // whom each takes for the leader; "": nobody
	down   map[string]bool   // it refuses connections
	stale  map[string]bool   // it can't keep a bound
	old    bool              // they don't know CLUSTER
	asked  map[string]int    // "a:1 SET": how often
	dials  map[string]int
	open   map[string][]net.Conn
	hold   chan struct{} // not nil: writes wait for it to be closed
}

var members = []string{"a:1", "b:1", "c:1"}

func newFakeCluster(leader string) *fakeCluster {
	f := &fakeCluster{leader: map[string]string{}, down: map[string]bool{}, stale: map[string]bool{},
		asked: map[string]int{}, dials: map[string]int{}, open: map[string][]net.Conn{}}
	f.lead(leader)
	return f
}

// lead has all servers take this one for the leader.
func (f *fakeCluster) lead(leader string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range members {
		f.leader[m] = leader
	}
}

// stop cuts a server off.
func (f *fakeCluster) stop(addr string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down[addr] = true
	for _, conn := range f.open[addr] {
		conn.Close()
	}
	delete(f.open, addr)
}

// count is how often a server was asked for this, since the last count.
func (f *fakeCluster) count(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.asked[what]
	delete(f.asked, what)
	return n
}

func (f *fakeCluster) dial(_ context.Context, addr string) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials[addr]++
	if f.down[addr] {
		return nil, errRefused
	}
	ours, theirs := net.Pipe()
	f.open[addr] = append(f.open[addr], theirs)
	go func() {
		defer theirs.Close()
		answering(func(q request) []byte { return f.answer(addr, q) })(theirs)
	}()
	return ours, nil
}

// dialAllButB is dial, but "b:1" never answers.
func (f *fakeCluster) dialAllButB(ctx context.Context, addr string) (net.Conn, error) {
	if addr == "b:1" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return f.dial(ctx, addr)
}

func (f *fakeCluster) answer(addr string, q request) []byte {
	f.mu.Lock()
	hold := f.hold
	f.mu.Unlock()
	if hold != nil && q.Opcode.Writes() {
		<-hold
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[addr+" "+q.Opcode.String()]++
	leader := f.leader[addr]
	refuse := func(status protocol.Status, message string) []byte {
		return protocol.AppendError(nil, q.Opcode, q.ID, &protocol.Error{Status: status, Message: message})
	}
	switch {
	case q.Opcode == protocol.OpCluster && !f.old:
		p := protocol.ClusterResponse{Cluster: 7}
		for i, m := range members {
			p.Members = append(p.Members, protocol.ClusterMember{ID: uint64(i + 1), Role: protocol.Voter, Client: m})
			if m == addr {
				p.Node = uint64(i + 1)
			}
			if m == leader {
				p.Leader = uint64(i + 1)
			}
		}
		return p.AppendTo(nil, q.ID)
	case q.Opcode == protocol.OpReads:
		return protocol.AppendResponse(nil, q.Opcode, protocol.StatusOK, q.ID, nil)
	case leader == "":
		return refuse(protocol.StatusUnavailable, "no leader is known")
	case q.Opcode.Writes() && leader != addr:
		return refuse(protocol.StatusMoved, leader)
	case f.stale[addr]:
		return refuse(protocol.StatusStale, "too far behind")
	}
	return echo(q)
}

func (f *fakeCluster) client(t *testing.T, addr string, o Options) *Client {
	o.dialer = f.dial
	c, err := Dial(t.Context(), addr, o)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func (f *fakeCluster) pool(t *testing.T, addr string, o PoolOptions) *Pool {
	o.dialer = f.dial
	p := NewPool(addr, o)
	t.Cleanup(func() { p.Close() })
	return p
}

const all = "a:1,b:1,c:1"
