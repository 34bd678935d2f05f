package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"kv/store/wal/folder"
)

// How a cluster begins, and how a node comes to belong to one.
//
// Every node has a random id, which is in its log from the log's first moment: with an empty disk a node is another
// one. A node that belongs to no cluster asks all of its peers, again and again, who they are.
//
//   - If any belongs to a cluster, this node comes to it: as the founder that it is, if it is one of them and was too late, with what all
//     founders begin with; else it joins.
//   - If all have answered, belong to none, and have the same list of peers, the one whose address is the least in it founds the
//     cluster: it makes up a number, and writes down who the founders are. The others learn of it as above.
//
// So a second cluster can't be founded while one node of the first answers, or while one of the peers does not answer
// at all, be it that only it has kept its disk.

// foundPause is between two rounds of questions.
const foundPause = 200 * time.Millisecond

// teller says something of a node that is to belong to a cluster, once: as a warning where somebody has to do something.
type teller func(level slog.Level, what string, args ...any)

// Belong has a node whose log belongs to no cluster come to belong to one. It returns when it does, or when ctx ends.
func Belong(ctx context.Context, p *Peers, d *Desk, log *FileLog, logger *slog.Logger) (Members, error) {
	if len(d.Peers) == 0 {
		return nil, errors.New("there are no peers to found a cluster with, or to join: name them with --peers")
	}
	f := founding{peers: p, desk: d, log: log, logger: logger, said: map[string]bool{}}
	for {
		members, err := f.try(ctx)
		if err != nil || members != nil {
			return members, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(foundPause):
		}
	}
}

// founding is what Belong goes by in its rounds.
type founding struct {
	peers  *Peers
	desk   *Desk
	log    *FileLog
	logger *slog.Logger
	said   map[string]bool // by tell
}

// tell is a teller.
func (f *founding) tell(level slog.Level, what string, args ...any) {
	if line := fmt.Sprint(what, args); !f.said[line] {
		f.logger.Log(context.Background(), level, what, args...)
		f.said[line] = true
	}
}

// belong has this node belong to a cluster from here on.
func (f *founding) belong(self Self) error { return f.desk.belong(f.log, f.peers, self) }

// try is one round of Belong. It returns the members as far as they are known once this node belongs to a cluster; nil: not yet.
func (f *founding) try(ctx context.Context) (Members, error) {
	d := f.desk
	founders, all := Members{d.Member.ID: d.Member}, true
	var belongs []peerAnswer
	for _, a := range d.askAll(ctx, f.peers) {
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case a.err != nil:
			if len(belongs) == 0 {
				f.tell(slog.LevelInfo, "waiting for a peer, to found a cluster or to join one", "peer", a.address, "error", a.err)
			}
			all = false
		case a.Self.Cluster != 0:
			belongs = append(belongs, a)
		case !slices.Equal(a.Peers, d.Peers):
			f.tell(slog.LevelWarn, "no cluster is founded: a peer has another list of peers",
				"peer", a.address, "its", a.Peers, "this", d.Peers)
			all = false
		case a.Member.Peer != a.address:
			f.tell(slog.LevelWarn, "no cluster is founded: a peer says that it is at another address",
				"peer", a.address, "its", a.Member.Peer)
			all = false
		default:
			founders[a.Member.ID] = a.Member
		}
	}
	if by := f.peers.wants.Load(); by != nil && !slices.Contains(d.Peers, *by) { // somebody has added this node to a cluster that it does not know of
		if a, err := d.ask(ctx, f.peers, *by, nil); err == nil && a.Self.Cluster != 0 {
			belongs = append(belongs, peerAnswer{answer: a, address: *by})
		}
	}
	if len(belongs) > 0 {
		for _, b := range belongs[1:] {
			if a := belongs[0]; a.Self.Cluster != b.Self.Cluster {
				f.tell(slog.LevelWarn, "peers belong to different clusters, and this node joins none of them: one was recovered or restored; remove the folder of the one whose data are to go, or leave it out of --peers",
					"peer", a.address, "cluster", idText(a.Self.Cluster), "other", b.address, "its", idText(b.Self.Cluster))
				return nil, nil
			}
		}
		best := slices.MaxFunc(belongs, func(a, b peerAnswer) int { return cmp.Compare(len(a.Leader), len(b.Leader)) }) // one that knows who leads
		return f.come(ctx, best.address, best.answer)
	}
	switch {
	case !slices.Contains(d.Peers, d.Member.Peer):
		f.tell(slog.LevelInfo, "no peer belongs to a cluster yet: this node is not among the founders, and waits")
		return nil, nil
	case !all || len(founders) != len(d.Peers) || !agreed(founders, f.tell) || d.Peers[0] != d.Member.Peer:
		return nil, nil
	}
	founders = founders.as(founders.newest())
	self := Self{Cluster: folder.NewMemberID(), Node: d.Member.ID, Founders: founders}
	f.tell(slog.LevelInfo, "a cluster is founded", "cluster", idText(self.Cluster), "founders", d.Peers)
	return founders, f.belong(self)
}

// come has this node come to the cluster that a peer belongs to.
func (f *founding) come(ctx context.Context, address string, a answer) (Members, error) {
	self := Self{Cluster: a.Self.Cluster, Node: f.desk.Member.ID}
	if _, ok := a.Self.Founders[self.Node]; ok { // this node is one of the founders, and has no data yet
		self.Founders = a.Self.Founders
		f.tell(slog.LevelInfo, "this node belongs to a cluster that was founded", "cluster", idText(self.Cluster))
		return self.Founders, f.belong(self)
	}
	for range 3 {
		if a.Leader == "" {
			f.tell(slog.LevelInfo, "the cluster has no leader now: this node waits to join", "peer", address)
			return nil, nil
		}
		var err error
		if a, err = f.desk.ask(ctx, f.peers, a.Leader, &f.desk.Member); err != nil {
			var said *PeerError
			if errors.As(err, &said) {
				return nil, fmt.Errorf("this node can't join: %s", said.Detail)
			}
			return nil, nil
		}
		if a.Joined {
			f.tell(slog.LevelInfo, "this node has joined a cluster", "cluster", idText(self.Cluster))
			return a.Members, f.belong(self)
		}
		if a.Later != "" {
			f.tell(slog.LevelInfo, "this node waits to join", "peer", address, "error", a.Later)
		}
	}
	return nil, nil
}
