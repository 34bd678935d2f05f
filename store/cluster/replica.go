package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"kv/store"
	"kv/store/vfs"
	"kv/store/wal/folder"
)

// ReplicaOptions say who a replica is, where it keeps what it has, and who the others are.
type ReplicaOptions struct {
	FS     vfs.FS // nil: the operating system's
	Dir    string // made if it is missing
	Listen net.Listener
	Client string   // the address at which its clients reach it
	Peer   string   // that at which the others do
	Peers  []string // those of the founders, this one's too if it is one
	// TLS is what the nodes prove who they are with, and is called for each connection; nil: they do not.
	TLS    func() *tls.Config
	Logger *slog.Logger
	// Synced is called after each sync that made a part of the log durable, with how long that took. It does not wait. Nil: nothing is.
	Synced func(took time.Duration)
	// KeepLog is JournalOptions.KeepLog.
	KeepLog int64
	Formats Formats // for tests; zero: what this package reads
}

// Replica is all that makes a store one of several: journal, log, node, and the way to the others. It is opened first, then the store with
// its Journal, and then it is started.
type Replica struct {
	*Journal
	o    ReplicaOptions
	lock io.Closer
	desk *Desk

	cancel  context.CancelFunc
	peers   *Peers
	running chan struct{} // closed when there is a node, or never will be
	done    chan struct{} // closed when the node has ended, or could not begin
	err     error         // why, published by done
	closing sync.Once
}

// OpenReplica takes the folder. It closes o.Listen with Close, or where there is an error.
func OpenReplica(o ReplicaOptions) (*Replica, error) {
	if o.FS == nil {
		o.FS = vfs.OS
	}
	r, err := openReplica(o)
	if err != nil {
		o.Listen.Close()
		return nil, err
	}
	return r, nil
}

func openReplica(o ReplicaOptions) (*Replica, error) {
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("data folder %s: %w", o.Dir, err)
	}
	lock, _, err := folder.LockReplica(o.FS, o.Dir)
	if err != nil {
		return nil, err
	}
	j, err := OpenJournal(JournalOptions{FS: o.FS, Dir: o.Dir, Logger: o.Logger, KeepLog: o.KeepLog, Formats: o.Formats, Log: LogOptions{Synced: o.Synced}})
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	self := j.Log().Self()
	return &Replica{
		Journal: j, o: o, lock: lock, desk: NewDesk(self, Member{ID: self.Node, Client: o.Client, Peer: o.Peer, Formats: o.Formats.or(built)}, o.Peers),
		running: make(chan struct{}), done: make(chan struct{}),
	}, nil
}

// Start begins to talk to the others, and to run, once the node belongs to a cluster. It does not wait for that: see Done.
func (r *Replica) Start(st *store.Store) {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	self := r.Log().Self()
	node := func() *Node {
		select {
		case <-r.running:
			return r.node.Load()
		case <-ctx.Done():
			return nil
		}
	}
	r.peers = NewPeers(r.o.Listen, PeersOptions{
		Cluster: self.Cluster, ID: self.Node, Address: r.o.Peer, TLS: r.o.TLS, Formats: r.o.Formats, Logger: r.o.Logger, Control: r.desk.Control,
		Receive: func(all ...*pb.Message) {
			if n := node(); n != nil {
				n.Receive(all...)
			}
		},
		Unreachable: func(id uint64) {
			if n := r.node.Load(); n != nil {
				n.Call(func(c *Core) { c.Unreachable(id) })
			}
		},
		Snapshot: func(m *pb.Message, from io.Reader) error {
			if n := node(); n != nil {
				return n.TakeIn(m, from)
			}
			return ErrStopped
		},
	})
	go func() {
		defer close(r.done)
		r.err = r.run(ctx, st, self)
	}()
}

func (r *Replica) run(ctx context.Context, st *store.Store, self Self) error {
	err := func() error {
		defer close(r.running)
		if self.Cluster == 0 {
			members, err := Belong(ctx, r.peers, r.desk, r.Log(), r.o.Logger)
			if err != nil {
				return err
			}
			r.peers.SetMembers(members.Addresses())
		}
		self := r.Log().Self()
		r.o.Logger.Info("this node begins as a member", "node", idText(self.Node), "address", r.o.Peer, "cluster", idText(self.Cluster))
		n, err := r.Journal.Start(st, CoreOptions{ID: self.Node, Nonce: folder.NewID(), Formats: r.o.Formats, Logger: r.o.Logger}, r.peers)
		if err == nil {
			r.desk.Serve(n)
		}
		return err
	}()
	if err != nil {
		return err
	}
	n := r.node.Load()
	go r.beFound(ctx, n)
	go r.beware(ctx, n)
	select {
	case <-n.Done():
	case <-ctx.Done():
		n.Stop()
	}
	return n.Err()
}

// movePause is how long a node waits that is elsewhere than the others know before it tells them again.
const movePause = 200 * time.Millisecond

// beFound sees to it that the members know where this node is, and what it reads: it may have moved while it did not run, or its folder to another machine,
// or its kvd is another one.
func (r *Replica) beFound(ctx context.Context, n *Node) {
	own := r.desk.Member
	for newest := false; ; {
		var leader string
		var all Members
		var here, leads bool
		if !r.call(n, func(c *Core) {
			all = c.Members()
			m, ok := all[own.ID]
			here = ok && m.is(own) || !ok && len(all) > 0 // who is no member any more is nowhere
			leader, leads = all[c.Leader()].Peer, c.Leads()
			if leads && !here {
				here, _ = admit(c, own)
			}
		}) || here && newest {
			return
		}
		if newest = here && r.Begin(store.ReadMode{}) == nil; newest {
			continue // it knew as of what it had applied, and may have said something else since that
		}
		if !here && !leads { // who was removed is not to join anew
			r.tellLeader(ctx, own, leader, all)
		}
		select {
		case <-ctx.Done():
			return
		case <-n.Done():
			return
		case <-time.After(movePause):
		}
	}
}

// tellLeader tells the leader where this node is. If it is not known who that is, since it calls this node where it was, another member knows.
func (r *Replica) tellLeader(ctx context.Context, own Member, leader string, all Members) {
	for id, m := range all {
		if leader != "" || id == own.ID {
			continue
		}
		if a, err := ask(ctx, r.peers, r.desk, m.Peer, nil); err == nil {
			leader = a.Leader
		}
	}
	if leader != "" {
		_, _ = ask(ctx, r.peers, r.desk, leader, &own) // what comes of it is looked at again
	}
}

// Done is closed when the replica has ended: Err says why.
func (r *Replica) Done() <-chan struct{} { return r.done }

// Err says why the replica has ended, once Done is closed; nil: it was closed.
func (r *Replica) Err() error {
	if errors.Is(r.err, context.Canceled) {
		return nil
	}
	return r.err
}

// HandOver has another node lead, if this one does, and waits for that as long as ctx lets it.
func (r *Replica) HandOver(ctx context.Context) {
	n := r.node.Load()
	if n == nil || !n.Status().Leads {
		return
	}
	r.handOver(ctx, n, 0)
}

// handOver has a node lead, 0: the one that has most of the log. Writes wait meanwhile, and are sent on to it then.
func (r *Replica) handOver(ctx context.Context, n *Node, to uint64) (began bool) {
	r.hold(ctx)
	defer r.release()
	if !r.call(n, func(c *Core) { began = c.Transfer(to) }) || !began {
		return false
	}
	for {
		turned := *n.turned.Load()
		if !n.Status().Leads {
			break
		}
		select {
		case <-turned:
		case <-n.done:
			return true
		case <-ctx.Done():
			return true
		}
	}
	n.Led(ctx)
	return true
}

// Close ends the replica, and gives back the folder.
func (r *Replica) Close() (err error) {
	r.closing.Do(func() {
		if r.cancel != nil {
			r.cancel()
			<-r.done
			r.peers.Close()
		} else {
			r.o.Listen.Close()
		}
		err = errors.Join(r.Journal.Close(), r.lock.Close())
	})
	return err
}

// View is how a cluster is, as one of its nodes sees it.
type View struct {
	Cluster, Node, Leader, Term, Committed, Published uint64
	Whole                                             bool
	LogEnd                                            uint64        // the last entry that it has
	Applying                                          time.Duration // how long the oldest that is committed has waited to be published
	Syncing                                           time.Duration // how long the oldest that is to be durable has waited for the disk
	Counts                                            Counts
	Members                                           []MemberView // by id
}

// MemberView is a member in it.
type MemberView struct {
	Member
	Voter, Reachable bool
	Matched          uint64        // how much of the log it has, as the leader knows
	Behind           int64         // how many bytes of the leader's log it lacks, as the leader knows
	RoundTrip        time.Duration // between it and this node; 0: it is not known
}

// Removed reports whether the node is no member any more. One that has joined and knows of no members yet is none.
func (v View) Removed() bool {
	return len(v.Members) > 0 && !slices.ContainsFunc(v.Members, func(m MemberView) bool { return m.ID == v.Node })
}

// View returns how the cluster is; false: this node does not run.
func (r *Replica) View() (v View, ok bool) {
	self := r.Log().Self()
	v.Cluster, v.Node = self.Cluster, self.Node
	n := r.node.Load()
	if n == nil {
		return v, false
	}
	if !r.call(n, func(c *Core) { c.view(&v) }) {
		return v, false
	}
	for i := range v.Members {
		m := &v.Members[i]
		there, took := r.peers.Reachable(m.ID)
		if m.RoundTrip = took; v.Leader != v.Node {
			m.Reachable = there || m.ID == v.Node
		} else {
			m.Behind = r.log.BytesBehind(m.Matched)
		}
	}
	v.Counts.Refused, v.Counts.Unknown = r.refused.Load(), r.unknown.Load()
	v.Counts.Sent, v.Counts.Taken = n.sent.load(), n.taken.load()
	return v, true
}

// apartPause is how long a node that is alone in its cluster waits before it looks again whether its peers belong to another.
const apartPause = 10 * time.Second

// beware says where a node that is alone in its cluster has peers of another: both would take writes, or one is left over from before this one was recovered or
// restored.
func (r *Replica) beware(ctx context.Context, n *Node) {
	told := map[string]uint64{}
	for alone := true; ; {
		if !r.call(n, func(c *Core) { alone = len(c.Members()) == 1 }) || !alone {
			return
		}
		for _, a := range askAll(ctx, r.peers, r.desk) {
			if other := a.Self.Cluster; a.err == nil && other != 0 && other != r.Log().Self().Cluster && told[a.address] != other {
				told[a.address] = other
				r.o.Logger.Error("a peer belongs to another cluster than this node: stop the one whose data are to go, remove its folder and start it again: it joins the other then",
					"peer", a.address, "cluster", idText(r.Log().Self().Cluster), "its", idText(other))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-n.Done():
			return
		case <-time.After(apartPause):
		}
	}
}

// call has the loop call f, and waits for that; false: it has ended.
func (r *Replica) call(n *Node, f func(*Core)) bool {
	done := make(chan struct{})
	n.Call(func(c *Core) {
		f(c)
		close(done)
	})
	select {
	case <-done:
		return true
	case <-n.Done():
		return false
	}
}

func (c *Core) view(v *View) {
	st := c.rn.BasicStatus()
	v.Leader, v.Term, v.Committed, v.Published, v.Whole = c.leader, c.term, st.HardState.GetCommit(), c.published, c.Whole()
	v.LogEnd, _ = c.log.LastIndex() // it is in memory
	v.Counts = c.counts
	now := c.clock()
	if len(c.applying) > 0 {
		v.Applying = now - c.applying[0]
	}
	if len(c.appends) > 0 && !c.appends[0].done {
		v.Syncing = now - c.watch.since
	}
	matched := map[uint64]uint64{}
	if c.leadTerm != 0 {
		c.rn.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) { matched[id] = pr.Match })
	}
	for id, m := range c.members {
		v.Members = append(v.Members, MemberView{
			Member: m, Voter: slices.Contains(c.conf.GetVoters(), id), Reachable: c.Heard(id), Matched: matched[id],
		})
	}
	slices.SortFunc(v.Members, func(a, b MemberView) int { return cmp.Compare(a.ID, b.ID) })
}

// Remove has a member be none any more.
func (r *Replica) Remove(id uint64) error {
	return r.change(func(c *Core) error { return c.Remove(id) })
}

// transferWithin is how long a transfer of leadership may take.
const transferWithin = 2 * time.Second

// Transfer has a member lead, and waits for that, two seconds at most.
func (r *Replica) Transfer(id uint64) error {
	err := r.change(func(c *Core) error {
		switch {
		case !c.opened:
			return &NotLeaderError{c.leader}
		case c.members[id].ID == 0:
			return fmt.Errorf("node %d is no member", id)
		case !slices.Contains(c.conf.GetVoters(), id):
			return fmt.Errorf("node %d does not vote yet", id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	n := r.node.Load()
	if id == n.Status().ID {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), transferWithin)
	defer cancel()
	if !r.handOver(ctx, n, id) {
		return fmt.Errorf("leadership can't be handed to node %d now", id)
	}
	return nil
}

// Add has the node at an address join, which waits for that.
func (r *Replica) Add(ctx context.Context, address string) error {
	if r.node.Load() == nil {
		return errNotRunning
	}
	a, err := ask(ctx, r.peers, r.desk, address, nil)
	switch {
	case err != nil:
		return fmt.Errorf("there is no node that could join at %s: %w", address, err)
	case a.Self.Cluster == r.Log().Self().Cluster:
		return r.change(func(c *Core) error {
			if !c.opened {
				return &NotLeaderError{c.leader}
			}
			if _, is := c.Members()[a.Member.ID]; !is {
				return fmt.Errorf("the node at %s was removed from this cluster: stop it, remove its folder and start it again: it joins then", address)
			}
			return nil // it has joined
		})
	case a.Self.Cluster != 0:
		return fmt.Errorf("the node at %s belongs to another cluster, %d", address, a.Self.Cluster)
	}
	return r.change(func(c *Core) error {
		_, err := admit(c, a.Member)
		return err
	})
}

// errNotRunning is the error of a change where there is nothing to change yet.
var errNotRunning = errors.New("this node belongs to no cluster yet, or just begins: its log says what it waits for")

// change has the loop do something to the cluster. Where this node does not lead, the error is a *store.MovedError.
func (r *Replica) change(f func(*Core) error) (err error) {
	n := r.node.Load()
	if n == nil {
		return errNotRunning
	}
	ctx, cancel := context.WithTimeout(context.Background(), ledWithin)
	defer cancel()
	if n.Led(ctx); !r.call(n, func(c *Core) { err = f(c) }) {
		return ErrStopped
	}
	if not := (*NotLeaderError)(nil); errors.As(err, &not) {
		return n.moved()
	}
	return err
}
