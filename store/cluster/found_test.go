package cluster

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"

	"kv/store/vfs/vfstest"
	"kv/store/wal/folder"
)

// host is a machine that a node runs on: a disk and an address.
type host struct {
	t       *testing.T
	fs      *vfstest.Mem
	base    Base   // of the snapshot that is kept
	kept    walked // and what it has
	address string
	logged  *lines

	listener net.Listener
	stopping context.CancelFunc
	belongs  chan error // says once that the node belongs to a cluster, and runs

	log   *FileLog
	peers *Peers
	node  *Node
	words *words
}

func newHost(t *testing.T) *host {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h := &host{t: t, fs: newFS(t), address: l.Addr().String(), listener: l, logged: &lines{said: make(chan struct{}, 1)}}
	t.Cleanup(h.stop)
	return h
}

// start runs a node on the host, as a program would.
func (h *host) start(peers ...string) {
	t := h.t
	logger := slog.New(slog.NewTextHandler(h.logged, nil))
	o := LogOptions{FS: h.fs, Dir: "/log", Base: h.base, Logger: logger, Ahead: -1}
	names, err := h.fs.List("/log")
	require.NoError(t, err)
	if len(names) == 0 {
		h.log, err = NewLog(o, Self{Node: folder.NewID()})
	} else {
		h.log, err = OpenLog(o)
	}
	require.NoError(t, err)
	if h.listener == nil {
		h.listener, err = net.Listen("tcp", h.address)
		require.NoError(t, err)
	}
	self := h.log.Self()
	member := Member{ID: self.Node, Peer: h.address, Client: "client of " + h.address}
	desk := NewDesk(self, member, peers)
	running := make(chan struct{})
	h.peers = NewPeers(h.listener, PeersOptions{
		Cluster: self.Cluster, ID: self.Node, Address: h.address, Logger: logger, Control: desk.Control,
		Receive: func(m ...*pb.Message) {
			<-running
			h.node.Receive(m...)
		},
		Unreachable: func(id uint64) {
			select {
			case <-running:
				h.node.Call(func(c *Core) { c.Unreachable(id) })
			default:
			}
		},
		Snapshot: func(m *pb.Message, r io.Reader) error {
			<-running
			return h.node.TakeIn(m, r)
		},
	})
	h.listener, h.words, h.belongs = nil, &words{said: maps.Clone(h.kept.Said), index: h.base.Index}, make(chan error, 1)
	h.words.keep = func(b Base, all walked) { h.base, h.kept = b, all }
	ctx, cancel := context.WithCancel(context.Background())
	h.stopping = cancel
	go func() {
		defer close(running)
		if self.Cluster == 0 {
			members, err := Belong(ctx, h.peers, desk, h.log, logger)
			if err != nil {
				h.belongs <- err
				return
			}
			h.peers.SetMembers(members.Addresses())
		}
		n, err := Start(NodeOptions{
			CoreOptions: CoreOptions{ID: self.Node, Nonce: folder.NewID(), Base: h.log.Base(), Whole: h.kept.Whole, Logger: logger},
			Log:         h.log, Machine: h.words, Transport: h.peers,
		})
		h.node = n
		desk.Serve(n, h.peers, func() (int64, bool) { return 0, true })
		h.belongs <- err
	}()
}

func (h *host) stop() {
	if h.stopping == nil {
		return
	}
	h.stopping()
	h.stopping = nil
	<-h.belongs
	close(h.belongs)
	if h.node != nil {
		h.node.Stop()
	}
	h.peers.Close()
	require.NoError(h.t, h.log.Close())
	h.node = nil
}

// up waits until the node belongs to a cluster.
func (h *host) up() *host {
	err := <-h.belongs
	h.belongs <- nil // for stop
	require.NoError(h.t, err, h.logged.String())
	return h
}

// leading waits until one of the hosts leads.
func leading(t *testing.T, hosts ...*host) (leader *host) {
	require.Eventually(t, func() bool {
		for _, h := range hosts {
			if h.node.Status().Leads {
				leader = h
				return true
			}
		}
		return false
	}, 30*time.Second, 5*time.Millisecond)
	return leader
}

// say writes through whoever leads, until it is done.
func say(t *testing.T, word string, hosts ...*host) {
	for range 100 {
		b, err := write(leading(t, hosts...).node, word)
		var not *NotLeaderError
		if errors.As(err, &not) {
			continue
		}
		require.NoError(t, err)
		<-b.Done()
		if b.Err() == nil {
			return
		}
		require.ErrorIs(t, b.Err(), ErrUnknown)
	}
	t.Fatal("nobody leads for long")
}

// hears waits until a host has these words.
func hears(t *testing.T, h *host, want string) {
	require.Eventually(t, func() bool { return strings.Join(h.words.all(), "") == want }, 30*time.Second, 5*time.Millisecond,
		"%s", h.logged.String())
}

// voters returns who votes, as a host knows it.
func (h *host) conf() (voters, learners []uint64) {
	done := make(chan struct{})
	h.node.Call(func(c *Core) {
		voters, learners = c.Place().Conf.GetVoters(), c.Place().Conf.GetLearners()
		close(done)
	})
	<-done
	return voters, learners
}

func founded(t *testing.T) (a, b, c *host, peers []string) {
	a, b, c = newHost(t), newHost(t), newHost(t)
	peers = []string{a.address, b.address, c.address}
	a.start(peers...)
	b.start(peers...)
	a.logged.wait(t, "waiting for a peer")
	b.logged.wait(t, "waiting for a peer")
	require.Empty(t, a.belongs, "not all have answered")
	c.start(c.address, b.address, a.address) // the order does not matter
	for _, h := range []*host{a, b, c} {
		h.up()
	}
	return a, b, c, peers
}

func TestThreeNodesFoundACluster(t *testing.T) {
	a, b, c, peers := founded(t)
	say(t, "one", a, b, c)
	require.NotZero(t, a.log.Self().Cluster)
	for _, h := range []*host{a, b, c} {
		hears(t, h, "one")
		require.Equal(t, a.log.Self().Cluster, h.log.Self().Cluster)
		require.Len(t, h.log.Self().Founders, 3)
	}
	first := a.log.Self()
	for _, h := range []*host{a, b, c} {
		h.stop()
		h.start(peers...)
	}
	say(t, "two", a.up(), b.up(), c.up())
	for _, h := range []*host{a, b, c} {
		hears(t, h, "onetwo")
	}
	require.Equal(t, first, a.log.Self())
}

// Two nodes with other lists of peers, or a node that is not in its own list, found nothing.
func TestNoClusterIsFoundedByPeersThatDoNotAgree(t *testing.T) {
	a, b := newHost(t), newHost(t)
	a.start(a.address, b.address)
	b.start(a.address, b.address, "127.0.0.1:1")
	a.logged.wait(t, "a peer has another list of peers")
	require.Empty(t, a.belongs)

	c, d := newHost(t), newHost(t)
	c.start(c.address)
	c.up() // alone
	e := newHost(t)
	e.start(d.address)
	e.logged.wait(t, "waiting for a peer")
	d.start(d.address, e.address)
	e.logged.wait(t, "this node is not among the founders")
	require.Empty(t, e.belongs)
	require.Empty(t, d.belongs)
}

func TestANodeJoinsAndGetsASnapshot(t *testing.T) {
	a, b, c, peers := founded(t)
	say(t, "one", a, b, c)
	d := newHost(t)
	d.start(peers...)
	d.up()
	hears(t, d, "one")
	say(t, "two", a, b, c)
	hears(t, d, "onetwo")
	require.Empty(t, d.log.Self().Founders)
	require.Eventually(t, func() bool {
		voters, _ := d.conf()
		return len(voters) == 4
	}, 30*time.Second, 10*time.Millisecond, "it becomes a voter by itself")
	d.logged.wait(t, "this node has joined a cluster")

	// A restart finds its cluster, whoever is given as peers.
	d.stop()
	say(t, "three", a, b, c)
	d.start("127.0.0.1:1")
	d.up()
	hears(t, d, "onetwothree")
}

// led returns a cluster of three by who leads it; "a" was said in it, and the others have heard that.
func led(t *testing.T) (leader *host, others []*host, peers []string) {
	a, b, c, peers := founded(t)
	say(t, "a", a, b, c)
	leader = leading(t, a, b, c)
	others = slices.DeleteFunc([]*host{a, b, c}, func(h *host) bool { return h == leader })
	for _, h := range others {
		hears(t, h, "a")
	}
	return leader, others, peers
}

// TestWhoAsksALeaderThatHasStoppedWaits: a leader whose log can't be written is asked to let a node in, before the
// others know.
func TestWhoAsksALeaderThatHasStoppedWaits(t *testing.T) {
	leader, others, peers := led(t)
	leader.node.Stop() // it answers its peers still
	d := newHost(t)
	d.start(peers...)
	d.up()
	say(t, "b", others...)
	hears(t, d, "ab")
}

// TestWhoAsksALeaderWithoutAMajorityWaits: what can't be changed now can be when the others are back.
func TestWhoAsksALeaderWithoutAMajorityWaits(t *testing.T) {
	leader, others, peers := led(t)
	for _, h := range others {
		id := h.log.Self().Node
		h.stop()
		leader.node.Call(func(c *Core) { c.Down(id) })
	}
	d := newHost(t)
	d.start(peers...)
	d.logged.wait(t, "waits to join")
	for _, h := range others {
		h.start(peers...)
		h.up()
	}
	d.up()
	hears(t, d, "a")
}

// A node that has lost its disk is a new member, in the old one's place; and no second cluster is founded, be it the
// one that founds.
func TestANodeThatLostItsDiskTakesItsOwnPlaceAsAnother(t *testing.T) {
	a, b, c, peers := founded(t)
	say(t, "one", a, b, c)
	least := a
	for _, h := range []*host{b, c} {
		if h.address < least.address {
			least = h
		}
	}
	old := least.log.Self()
	least.stop()
	least.fs, least.base, least.kept = newFS(t), Base{}, walked{}
	least.start(peers...)
	least.up()
	require.Equal(t, old.Cluster, least.log.Self().Cluster)
	require.NotEqual(t, old.Node, least.log.Self().Node)
	hears(t, least, "one")
	require.Eventually(t, func() bool {
		voters, learners := least.conf()
		return len(voters) == 3 && len(learners) == 0
	}, 30*time.Second, 10*time.Millisecond)
	voters, _ := least.conf()
	require.NotContains(t, voters, old.Node)
	require.Contains(t, voters, least.log.Self().Node)
}

// Where peers belong to two clusters, as after one of them was recovered, a new node joins neither until one of the two is gone.
func TestANodeJoinsNoneOfTwoClusters(t *testing.T) {
	a, b, c := newHost(t), newHost(t), newHost(t)
	a.start(a.address)
	b.start(b.address)
	say(t, "one", a.up())
	b.up()
	c.start(a.address, b.address, c.address)
	c.logged.wait(t, "peers belong to different clusters, and this node joins none of them")
	require.Empty(t, c.belongs)
	b.stop()
	c.up()
	hears(t, c, "one")
	require.Equal(t, a.log.Self().Cluster, c.log.Self().Cluster)
}
