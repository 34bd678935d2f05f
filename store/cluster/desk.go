package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Desk answers the questions of other nodes that are no messages of Raft: who this node is, and whether they may join.
type Desk struct {
	// Peers are the addresses of the founders, the same on all, sorted.
	Peers []string
	// Member is this node.
	Member Member

	mu    sync.Mutex                        // guards what follows
	self  Self                              // in this node's log
	node  *Node                             // nil: not running yet
	peers *Peers                            // where the others are; with node
	room  func() (used int64, settled bool) // see Journal.room; with node
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
	Later   string  // why who wanted to join can't now, and is to ask again; empty: for no reason that is told
	Removed bool    // who wanted to join was one, of this cluster, and is none any more
}

// NewDesk returns the desk of a node. The list of the peers is sorted, and without doubles.
func NewDesk(self Self, member Member, peers []string) *Desk {
	peers = slices.Clone(peers)
	slices.Sort(peers)
	return &Desk{Peers: slices.Compact(peers), Member: member, self: self}
}

// Serve has the desk know the node that runs, its connections to the others, and what a new member must have room for.
func (d *Desk) Serve(n *Node, p *Peers, room func() (used int64, settled bool)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.node, d.peers, d.room = n, p, room
}

// Control is PeersOptions.Control.
func (d *Desk) Control(cluster uint64, asked []byte) ([]byte, error) {
	var q question
	if err := json.Unmarshal(asked, &q); err != nil {
		return nil, fmt.Errorf("the question can't be read: %w", err)
	}
	d.mu.Lock()
	own, node, peers, room := answer{Self: d.self, Member: d.Member, Peers: d.Peers}, d.node, d.peers, d.room
	d.mu.Unlock()
	a := own
	if node != nil {
		var err error
		var used int64
		settled := true
		if q.Join != nil {
			used, settled = room()
		}
		if !node.call(func(c *Core) {
			a.Members = c.Members()
			a.Leader = d.leader(c, peers)
			if q.Join != nil {
				if a.Removed, err = d.mayJoin(c, cluster, *q.Join); err == nil && !a.Removed {
					a.Joined, err = admit(c, peers, *q.Join, used, settled)
				}
			}
		}) {
			return json.Marshal(own) // it knows of no leader any more: a refusal would be final for who wants to join
		}
		if wrong := (*WrongChangeError)(nil); errors.As(err, &wrong) {
			return nil, err
		}
		if err != nil {
			a.Later = err.Error()
		}
	}
	return json.Marshal(a)
}

// leader returns where the peer is that leads, empty: nobody does that this node knows of. That may be elsewhere than
// the members know as yet.
func (d *Desk) leader(c *Core, p *Peers) string {
	m, ok := c.Members()[c.Leader()]
	switch {
	case !ok:
		return ""
	case m.ID == d.Member.ID:
		return d.Member.Peer
	}
	_, dialed := p.at(m.ID)
	if dialed = cmp.Or(dialed, m.Peer); dialed == d.Member.Peer { // the leader was there before this node was
		return ""
	}
	return dialed
}

// mayJoin says why a node that has said of which cluster it is, 0: of none yet, can't join, or move. Who is of this one
// with its folder has been a member, and was removed where it is none: it joins anew with an empty folder, as another.
func (d *Desk) mayJoin(c *Core, cluster uint64, m Member) (removed bool, err error) {
	_, member := c.Members()[m.ID]
	switch {
	case cluster == 0 || member && cluster == d.cluster():
		return false, nil
	case cluster != d.cluster():
		return false, wrongChange("node %d is of another cluster, %d, and this one is %d", m.ID, cluster, d.cluster())
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

// admit has a node join, or be what it says, and reports whether it is a member and that. One that is new must have
// room for what the store takes, and waits until the log says how much history is kept. One that has taken another's
// place must have been met there, or the other elsewhere: two may have been told the same address by mistake.
func admit(c *Core, p *Peers, m Member, used int64, settled bool) (bool, error) {
	if old, ok := c.Members()[m.ID]; ok {
		if old.is(m.as(c.format)) {
			return true, nil
		}
		return false, c.Move(m, func(other Member) bool {
			met, _ := p.at(m.ID)
			elsewhere, _ := p.at(other.ID)
			return met == m.Peer || elsewhere != "" && elsewhere != m.Peer
		})
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

// ask asks the node at an address who it is. With join it also asks that node to let the member join, or to note its
// new addresses.
func (d *Desk) ask(ctx context.Context, p *Peers, address string, join *Member) (a answer, err error) {
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

// peerAnswer is what a peer has answered.
type peerAnswer struct {
	answer
	address string
	err     error // nil: it has
}

// askAll asks all peers but this node who they are, side by side. The answers are in the order of the peers.
func (d *Desk) askAll(ctx context.Context, p *Peers) []peerAnswer { return d.askEach(ctx, p, d.Peers) }

// askEach is askAll of whoever is at these addresses.
func (d *Desk) askEach(ctx context.Context, p *Peers, addresses []string) []peerAnswer {
	var all []peerAnswer
	for _, address := range addresses {
		if address != d.Member.Peer {
			all = append(all, peerAnswer{address: address})
		}
	}
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i].answer, all[i].err = d.ask(ctx, p, all[i].address, nil) })
	}
	wg.Wait()
	return all
}
