package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"kv/store/wal/folder"
)

// How a cluster begins, and how a node comes to belong to one.
//
// Every node has a random id, which is in its log from the log's first moment: with an empty disk a node is another one. A node that belongs to no cluster
// asks all of its peers, again and again, who they are.
//
//   - If any belongs to a cluster, this node comes to it: as the founder that it is, if it is one of them and was too late, with what all
//     founders begin with; else it joins.
//   - If all have answered, belong to none, and have the same list of peers, the one whose address is the least in it founds the
//     cluster: it makes up a number, and writes down who the founders are. The others learn of it as above.
//
// So a second cluster can't be founded while one node of the first answers, or while one of the peers does not answer at all, be it that only it has
// kept its disk.

const foundPause = 200 * time.Millisecond

// Desk answers what other nodes ask that is not Raft's.
type Desk struct {
	// Peers are the addresses of the founders, the same on all, sorted.
	Peers []string
	// Member is this node.
	Member Member

	mu   sync.Mutex
	self Self                              // in this node's log
	node *Node                             // nil: not running yet
	room func() (used int64, settled bool) // see Journal.room; with node
}

// question is what a node asks another.
type question struct {
	Peers []string // the founders' addresses that the asking node was given
	Join  *Member  // who wants to join, or is a member at this address; nil: nobody
}

// answer is what the other says.
type answer struct {
	Self    Self
	Member  Member // who answers
	Peers   []string
	Members Members // as far as the node knows
	Leader  string  // the address of the peer that leads, as far as the node knows; empty: nobody
	Joined  bool    // who wanted to join is a member
	Removed bool    // who wanted to join was one, of this cluster, and is none any more
}

// NewDesk returns the desk of a node. The list of the peers is sorted, and without doubles.
func NewDesk(self Self, member Member, peers []string) *Desk {
	peers = slices.Clone(peers)
	slices.Sort(peers)
	return &Desk{Peers: slices.Compact(peers), Member: member, self: self}
}

// Serve has the desk know the node that runs, and what a new member must have room for.
func (d *Desk) Serve(n *Node, room func() (used int64, settled bool)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.node, d.room = n, room
}

// Control is PeersOptions.Control.
func (d *Desk) Control(ctx context.Context, cluster uint64, asked []byte) ([]byte, error) {
	var q question
	if err := json.Unmarshal(asked, &q); err != nil {
		return nil, fmt.Errorf("the question can't be read: %w", err)
	}
	d.mu.Lock()
	a, node, room := answer{Self: d.self, Member: d.Member, Peers: d.Peers}, d.node, d.room
	d.mu.Unlock()
	if node != nil {
		var err error
		var used int64
		settled := true
		if q.Join != nil {
			used, settled = room()
		}
		done := make(chan struct{})
		node.Call(func(c *Core) {
			defer close(done)
			a.Members = c.Members()
			a.Leader = a.Members[c.Leader()].Peer
			if q.Join != nil {
				if a.Removed, err = d.mayJoin(c, cluster, *q.Join); err == nil && !a.Removed {
					a.Joined, err = admit(c, *q.Join, used, settled)
				}
			}
		})
		select {
		case <-done:
		case <-node.Done():
			return nil, ErrStopped
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		var not *NotLeaderError
		if err != nil && !errors.As(err, &not) && !errors.Is(err, ErrChanging) {
			return nil, err
		}
	}
	return json.Marshal(a)
}

// mayJoin says why a node that has said of which cluster it is, 0: of none yet, can't join, or move. Who is of this one with its folder has been a member, and
// was removed where it is none: it joins anew with an empty folder, as another.
func (d *Desk) mayJoin(c *Core, cluster uint64, m Member) (removed bool, err error) {
	_, member := c.Members()[m.ID]
	switch {
	case cluster == 0 || member && cluster == d.cluster():
		return false, nil
	case cluster != d.cluster():
		return false, fmt.Errorf("node %d is of another cluster, %d, and this one is %d", m.ID, cluster, d.cluster())
	case !c.Leads():
		return false, &NotLeaderError{c.Leader()} // this node may not know of it yet
	}
	return true, nil
}

func (d *Desk) cluster() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.self.Cluster
}

// admit has a node join, or be what it says, and reports whether it is a member and that. One that is new must have room for what the store
// takes, and waits until the log says how much history is kept.
func admit(c *Core, m Member, used int64, settled bool) (bool, error) {
	if old, ok := c.Members()[m.ID]; ok {
		if old.is(m.as(c.format)) {
			return true, nil
		}
		return false, c.Move(m)
	}
	for _, old := range c.Members() {
		if old.Peer == m.Peer && m.Replaces == 0 { // that machine has lost its disk
			m.Replaces = old.ID
		}
	}
	if room := m.Settings.Memory; m.Settings.Said && room > 0 && room < used {
		return false, wrongChange("data take %d MiB in the cluster, and this node has room for %d MiB of data: start it with a higher --max-memory", used>>20, room>>20)
	}
	if m.Settings.Said && !settled && c.format >= formatSettings {
		return false, ErrChanging
	}
	return false, c.AddLearner(m)
}

// teller says something of a node that is to belong to a cluster, once: as a warning where somebody has to do something.
type teller func(level slog.Level, what string, args ...any)

// Belong has a node whose log belongs to no cluster come to belong to one. It returns when it does, or when ctx ends.
func Belong(ctx context.Context, p *Peers, d *Desk, log *FileLog, logger *slog.Logger) (Members, error) {
	said := map[string]bool{}
	tell := func(level slog.Level, what string, args ...any) {
		if line := fmt.Sprint(what, args); !said[line] { // once, not each time
			logger.Log(ctx, level, what, args...)
			said[line] = true
		}
	}
	if !slices.Contains(d.Peers, d.Member.Peer) && len(d.Peers) == 0 {
		return nil, errors.New("there are no peers to found a cluster with, or to join")
	}
	for {
		members, err := try(ctx, p, d, log, tell)
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

// try is one round of Belong. It returns the members as far as they are known once this node belongs to a cluster; nil: not yet.
func try(ctx context.Context, p *Peers, d *Desk, log *FileLog, tell teller) (Members, error) {
	founders, all := Members{d.Member.ID: d.Member}, true
	var belongs []peerAnswer
	for _, a := range askAll(ctx, p, d) {
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case a.err != nil:
			if len(belongs) == 0 {
				tell(slog.LevelInfo, "waiting for a peer, to found a cluster or to join one", "peer", a.address, "error", a.err)
			}
			all = false
		case a.Self.Cluster != 0:
			belongs = append(belongs, a)
		case !slices.Equal(a.Peers, d.Peers):
			tell(slog.LevelWarn, "no cluster is founded: a peer has another list of peers", "peer", a.address, "its", a.Peers, "this", d.Peers)
			all = false
		case a.Member.Peer != a.address:
			tell(slog.LevelWarn, "no cluster is founded: a peer says that it is at another address", "peer", a.address, "its", a.Member.Peer)
			all = false
		default:
			founders[a.Member.ID] = a.Member
		}
	}
	if len(belongs) > 0 {
		for _, b := range belongs[1:] {
			if a := belongs[0]; a.Self.Cluster != b.Self.Cluster {
				tell(slog.LevelWarn, "peers belong to different clusters, and this node joins none of them: one was recovered or restored; remove the folder of the one whose data are to go, or leave it out of --peers",
					"peer", a.address, "cluster", idText(a.Self.Cluster), "other", b.address, "its", idText(b.Self.Cluster))
				return nil, nil
			}
		}
		best := slices.MaxFunc(belongs, func(a, b peerAnswer) int { return cmp.Compare(len(a.Leader), len(b.Leader)) }) // one that knows who leads
		return come(ctx, p, d, log, best.address, best.answer, tell)
	}
	switch {
	case !slices.Contains(d.Peers, d.Member.Peer):
		tell(slog.LevelInfo, "no peer belongs to a cluster yet: this node is not among the founders, and waits")
		return nil, nil
	case !all || len(founders) != len(d.Peers) || !agreed(founders, tell) || d.Peers[0] != d.Member.Peer:
		return nil, nil
	}
	founders = founders.as(founders.newest())
	self := Self{Cluster: folder.NewMemberID(), Node: d.Member.ID, Founders: founders}
	tell(slog.LevelInfo, "a cluster is founded", "cluster", idText(self.Cluster), "founders", d.Peers)
	return founders, d.belong(log, p, self)
}

// peerAnswer is what a peer has answered.
type peerAnswer struct {
	answer
	address string
	err     error // nil: it has
}

// askAll asks all peers but this node who they are, side by side. The answers are in the order of the peers.
func askAll(ctx context.Context, p *Peers, d *Desk) []peerAnswer {
	var all []peerAnswer
	for _, address := range d.Peers {
		if address != d.Member.Peer {
			all = append(all, peerAnswer{address: address})
		}
	}
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i].answer, all[i].err = ask(ctx, p, d, all[i].address, nil) })
	}
	wg.Wait()
	return all
}

// come has this node come to the cluster that a peer belongs to.
func come(ctx context.Context, p *Peers, d *Desk, log *FileLog, address string, a answer, tell teller) (Members, error) {
	self := Self{Cluster: a.Self.Cluster, Node: d.Member.ID}
	if _, ok := a.Self.Founders[self.Node]; ok { // it is one of the founders, and has nothing yet
		self.Founders = a.Self.Founders
		tell(slog.LevelInfo, "this node belongs to a cluster that was founded", "cluster", idText(self.Cluster))
		return self.Founders, d.belong(log, p, self)
	}
	for range 3 {
		if a.Leader == "" {
			tell(slog.LevelInfo, "the cluster has no leader now: this node waits to join", "peer", address)
			return nil, nil
		}
		var err error
		if a, err = ask(ctx, p, d, a.Leader, &d.Member); err != nil {
			var said *PeerError
			if errors.As(err, &said) {
				return nil, fmt.Errorf("this node can't join: %s", said.Detail)
			}
			return nil, nil
		}
		if a.Joined {
			tell(slog.LevelInfo, "this node has joined a cluster", "cluster", idText(self.Cluster))
			return a.Members, d.belong(log, p, self)
		}
	}
	return nil, nil
}

func ask(ctx context.Context, p *Peers, d *Desk, address string, join *Member) (a answer, err error) {
	asked, err := json.Marshal(question{d.Peers, join})
	if err != nil {
		return a, err
	}
	b, err := p.Ask(ctx, address, asked)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return a, fmt.Errorf("the answer of %s can't be read: %w", address, err)
	}
	return a, nil
}

// belong writes down to which cluster this node belongs, and then says so.
func (d *Desk) belong(log *FileLog, p *Peers, self Self) error {
	if err := log.Belong(self); err != nil {
		return err
	}
	d.mu.Lock()
	d.self = self
	d.mu.Unlock()
	p.SetCluster(self.Cluster)
	return nil
}

// Addresses returns where the members are.
func (all Members) Addresses() map[uint64]string {
	addresses := make(map[uint64]string, len(all))
	for id, m := range all {
		addresses[id] = m.Peer
	}
	return addresses
}
