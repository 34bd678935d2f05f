package cluster

import (
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
}

func (p *program) start(l net.Listener, client string) {
	r, err := OpenReplica(ReplicaOptions{
		FS: p.fs, Dir: "/log", Listen: l, Client: client, Peer: p.peer, Peers: p.peers, Logger: slog.New(slog.DiscardHandler),
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

// A node that was elsewhere for a while and comes back tells the others, though its log, as far as it has been applied at a start, shows it where it is.
func TestAMemberThatComesBackToWhereItWasTellsTheOthers(t *testing.T) {
	var all []*program
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
