package cluster

import (
	"encoding/json"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/vfs/vfstest"
)

// program is a replica and its store, on a disk of its own.
type program struct {
	t     *testing.T
	fs    *vfstest.Mem
	peer  string
	peers []string

	replica *Replica
	store   *store.Store
	logged  *lines
}

func (p *program) start(l net.Listener, client string) {
	p.logged = &lines{said: make(chan struct{}, 1)}
	r, err := OpenReplica(ReplicaOptions{
		FS: p.fs, Dir: "/log", Listen: l, Client: client, Peer: p.peer, Peers: p.peers, Logger: slog.New(slog.NewTextHandler(p.logged, nil)),
	})
	require.NoError(p.t, err)
	p.replica = r
	p.store, err = store.Open(store.Options{Journal: r.Journal, Proposes: true})
	require.NoError(p.t, err)
	r.Start(p.store)
}

func (p *program) stop() {
	require.NoError(p.t, p.replica.Close())
	require.NoError(p.t, p.store.Close())
}

// programs starts three replicas that are one cluster.
func programs(t *testing.T) (all []*program) {
	var listeners []net.Listener
	var peers []string
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		all = append(all, &program{t: t, fs: newFS(t), peer: l.Addr().String()})
		listeners, peers = append(listeners, l), append(peers, l.Addr().String())
	}
	for i, p := range all {
		p.peers = peers
		p.start(listeners[i], "client of "+p.peer)
		t.Cleanup(p.stop)
	}
	return all
}

// A node that was elsewhere for a while and comes back tells the others, though its log, as far as it has been applied
// at a start, shows it where it is.
func TestAMemberThatComesBackToWhereItWasTellsTheOthers(t *testing.T) {
	all := programs(t)
	known := func(client string) {
		require.Eventually(t, func() bool {
			for _, p := range all {
				v, ok := p.replica.View()
				there := false
				for _, m := range v.Members {
					there = there || m.Peer == all[0].peer && m.Client == client
				}
				if !ok || !there {
					return false
				}
			}
			return true
		}, 120*time.Second, 10*time.Millisecond)
	}
	was := "client of " + all[0].peer
	known(was)
	for _, client := range []string{"elsewhere", was, "elsewhere"} {
		all[0].stop()
		l, err := net.Listen("tcp", all[0].peer)
		require.NoError(t, err)
		all[0].start(l, client)
		known(client)
	}
}

// TestNodesThatHaveSwappedFindEachOther: two nodes that come back on each other's folders are members where they are now,
// though they were led before the second of them came, and each is where the other was.
func TestNodesThatHaveSwappedFindEachOther(t *testing.T) {
	for name, leads := range map[string]int{"one of the two leads": 0, "the third leads": 2} {
		t.Run(name, func(t *testing.T) {
			all := programs(t)
			until := func(f func() bool) { require.Eventually(t, f, 120*time.Second, 10*time.Millisecond) }
			until(func() bool {
				for _, p := range all {
					if v, ok := p.replica.View(); !ok || v.Leader == 0 || len(v.Members) != 3 {
						return false
					}
				}
				return true
			})
			for _, p := range all {
				p.stop()
			}
			all[0].fs, all[1].fs = all[1].fs, all[0].fs
			start := func(p *program) {
				l, err := net.Listen("tcp", p.peer)
				require.NoError(t, err)
				p.start(l, "client of "+p.peer)
			}
			start(all[0])
			start(all[2])
			until(func() bool {
				node := all[leads].replica.Log().Self().Node
				for _, p := range []*program{all[0], all[2]} {
					if n := p.replica.node.Load(); n != nil && n.Status().Leads && n.Status().ID != node {
						p.replica.handOver(t.Context(), n, node)
					}
				}
				v, ok := all[leads].replica.View()
				return ok && v.Leader == node
			})
			start(all[1])
			until(func() bool { // each knows of all where they are, and reaches them
				for _, p := range all {
					v, ok := p.replica.View()
					if !ok {
						return false
					}
					at := map[uint64]MemberView{}
					for _, m := range v.Members {
						at[m.ID] = m
					}
					for _, other := range all {
						m := at[other.replica.Log().Self().Node]
						if m.Peer != other.peer || m.Client != "client of "+other.peer || !m.Reachable {
							return false
						}
					}
				}
				return true
			})
		})
	}
}

// A node that was removed while it did not run, and does not know, is not a member again because it tells where it is
// now, or what it reads, and learns of that where it was, too. Nor is one of another cluster whose members' addresses
// are this one's now.
func TestWhoWasRemovedIsNotLetInAtAnotherAddress(t *testing.T) {
	all := programs(t)
	var leader *program
	require.Eventually(t, func() bool {
		for _, p := range all {
			if v, ok := p.replica.View(); ok && v.Leader == v.Node && v.Leader != 0 && len(v.Members) == 3 {
				leader = p
			}
		}
		return leader != nil
	}, 120*time.Second, 10*time.Millisecond)
	old := all[0]
	if old == leader {
		old = all[1]
	}
	self := old.replica.Log().Self()
	old.stop()
	members := func(n int) {
		require.Eventually(t, func() bool {
			for _, p := range all {
				if v, ok := p.replica.View(); p != old && (!ok || len(v.Members) != n) {
					return false
				}
			}
			return true
		}, 120*time.Second, 10*time.Millisecond)
	}
	require.Eventually(t, func() bool { // who leads, of those that are left
		for _, p := range all {
			if p != old && p.replica.Remove(self.Node) == nil {
				leader = p
				return true
			}
		}
		return false
	}, 120*time.Second, 10*time.Millisecond)
	members(2)

	l, err := net.Listen("tcp", old.peer)
	require.NoError(t, err)
	old.start(l, "client of "+old.peer)
	old.logged.wait(t, "was removed from this cluster: stop it, remove its folder and start it again")
	require.Eventually(t, func() bool { return old.replica.Begin(store.ReadMode{}) == error(errRemoved) },
		120*time.Second, 10*time.Millisecond)
	v, _ := old.replica.View()
	require.True(t, v.Removed)
	members(2)
	old.stop()

	l, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	old.peer = l.Addr().String()
	old.start(l, "elsewhere")
	old.logged.wait(t, "was removed from this cluster: stop it, remove its folder and start it again")
	members(2)

	for _, p := range all {
		if p == old {
			continue
		}
		for _, m := range []Member{{ID: self.Node, Peer: "127.0.0.1:1"}, {ID: 77, Peer: "127.0.0.1:1"},
			{ID: leader.replica.Log().Self().Node, Peer: "127.0.0.1:1"}} {
			asked, err := json.Marshal(question{Join: &m})
			require.NoError(t, err)
			_, err = p.replica.desk.Control(self.Cluster+1, asked)
			require.ErrorContains(t, err, "is of another cluster")
		}
	}
	members(2)

	// With an empty folder it is another one, and joins.
	old.stop()
	old.fs = newFS(t)
	l, err = net.Listen("tcp", old.peer)
	require.NoError(t, err)
	old.start(l, "elsewhere")
	members(3)
}
