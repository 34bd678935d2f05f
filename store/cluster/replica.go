package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"sync"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"kv/store"
	"kv/store/vfs"
	"kv/store/wal/folder"
)

// ReplicaOptions say who a replica is, where its data are, and who the other nodes are.
type ReplicaOptions struct {
	FS     vfs.FS // nil: the operating system's
	Dir    string // made if it is missing
	Listen net.Listener
	Client string   // the address at which clients reach this node
	Peer   string   // the address at which the other nodes reach it
	Peers  []string // the peer addresses of the founders; Peer among them if this node is one
	// TLS is what the nodes prove who they are with, and is called for each connection; nil: they do not.
	TLS    func() *tls.Config
	Logger *slog.Logger
	// Synced is called after each sync that made a part of the log durable, with how long that took. It does not wait.
	// Nil: nothing is.
	Synced func(took time.Duration)
	// RetainLog is JournalOptions.RetainLog.
	RetainLog int64
	Formats   Formats // for tests; zero: what this package reads
	// Settings are what the node says of itself; Said is set where there are any.
	Settings Settings
}

// Replica is everything that makes a store one of several: the journal, the log, the node, and the connections to the
// other nodes. It is opened first, then the store with its Journal, and then it is started.
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
	if o.Settings.Said {
		o.Settings = parseSettings(o.Settings.append(nil)) // as the others read them
	}
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("data folder %s: %w", o.Dir, err)
	}
	lock, _, err := folder.LockReplica(o.FS, o.Dir)
	if err != nil {
		return nil, err
	}
	j, err := OpenJournal(JournalOptions{FS: o.FS, Dir: o.Dir, Logger: o.Logger, RetainLog: o.RetainLog,
		Memory: o.Settings.Memory, Formats: o.Formats, Log: LogOptions{Synced: o.Synced}})
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	self := j.Log().Self()
	for _, known := range []Members{self.Founders, j.at.base.Members} {
		others := maps.Clone(known)
		delete(others, self.Node)
		if err == nil {
			err = others.checkHistory(o.Settings)
		}
	}
	if depth := j.history[0].depth; err == nil && depth > 0 && o.Settings.Said && o.Settings.History == 0 {
		err = &HistoryError{Cluster: depth}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("data folder %s: %w", o.Dir, err), j.Close(), lock.Close())
	}
	return &Replica{
		Journal: j, o: o, lock: lock, desk: NewDesk(self,
			Member{ID: self.Node, Client: o.Client, Peer: o.Peer, Formats: o.Formats.or(built), Settings: o.Settings}, o.Peers),
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
	tell := func(f func(c *Core, id uint64)) func(id uint64) {
		return func(id uint64) {
			if n := r.node.Load(); n != nil {
				n.Call(func(c *Core) { f(c, id) })
			}
		}
	}
	r.peers = NewPeers(r.o.Listen, PeersOptions{
		Cluster: self.Cluster, ID: self.Node, Address: r.o.Peer, TLS: r.o.TLS, Formats: r.o.Formats, Logger: r.o.Logger, Control: r.desk.Control,
		Receive: func(all ...*pb.Message) {
			if n := node(); n != nil {
				n.Receive(all...)
			}
		},
		Unreachable: tell((*Core).Unreachable), Down: tell((*Core).Down),
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
		r.o.Logger.Info("this node begins as a member",
			"node", idText(self.Node), "address", r.o.Peer, "cluster", idText(self.Cluster))
		n, err := r.Journal.Start(st, CoreOptions{ID: self.Node, Nonce: folder.NewID(), Formats: r.o.Formats,
			Logger: r.o.Logger}, r.peers)
		if err == nil {
			r.desk.Serve(n, r.peers, r.room)
		}
		return err
	}()
	if err != nil {
		return err
	}
	n := r.node.Load()
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer cancel()
	beside.Go(func() { r.beFound(ctx, n) })
	beside.Go(func() { r.beware(ctx, n) })
	beside.Go(func() { r.settle(ctx, n, st) })
	select {
	case <-n.Done():
	case <-ctx.Done():
		n.Stop()
	}
	return n.Err()
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
	if !n.call(func(c *Core) { began = c.Transfer(to) }) || !began {
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
