package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kv/netserver"
	"kv/protocol"
	"kv/store"
	"kv/store/cluster"
	"kv/store/wal"
)

// handOverLimit is how long a node that ends waits for another to lead.
const handOverLimit = 2 * time.Second

// replica is the store's being one of several.
type replica struct{ *cluster.Replica }

// takeReplica takes the folder of a node, and listens for the others.
func takeReplica(o options, log *slog.Logger) (backend, error) {
	secure, err := newPeerTLS(&o.peers, log)
	if err != nil {
		return backend{}, failed(exitUsage, err)
	}
	l, err := net.Listen("tcp", string(o.peers.listen))
	if err != nil {
		return backend{}, failed(exitListen, fmt.Errorf("--peer-listen: %w", err))
	}
	syncs := newSyncTimes()
	client, peer := o.peers.addresses(&o)
	all := cluster.ReplicaOptions{
		FS: o.fs, Dir: string(o.data), Listen: l, Client: client, Peer: peer, Peers: o.peers.list(), Logger: log,
		Synced:    func(took time.Duration) { syncs.Observe(took.Seconds()) },
		RetainLog: int64(o.peers.retainLog),
		Settings:  cluster.Settings{Said: true, Memory: o.shares().data, History: o.history, HistoryAge: time.Duration(o.historyAge)},
	}
	if secure != nil {
		all.TLS = secure.config
	}
	opened, err := cluster.OpenReplica(all)
	if errors.As(err, new(*cluster.HistoryError)) {
		err = failed(exitUsage, err)
	}
	if err != nil {
		return backend{}, err
	}
	r := &replica{opened}
	return backend{
		journal:      r.Journal,
		policy:       wal.Always.String(),
		begin:        r.Start,
		ready:        r.ready,
		snapshots:    r,
		figures:      r.figures,
		metrics:      []prometheus.Collector{syncs, replicaMetrics{r.View}},
		replica:      r,
		closeJournal: r.Close,
	}, nil
}

// figures are those of the node's folder and of what the cluster agrees on.
func (r *replica) figures() []protocol.Stat {
	c := r.Counts()
	format, reads := r.Format()
	v, known := r.View()
	return []protocol.Stat{
		{Name: "sync_policy", Value: policies[wal.Always]},
		{Name: "read_only"},
		{Name: "log_files", Value: uint64(c.Files)},
		{Name: "log_bytes", Value: uint64(c.Bytes)},
		{Name: "log_syncs", Value: c.Syncs},
		{Name: "snapshot_bytes", Value: uint64(c.SnapshotBytes)},
		{Name: "snapshot_age_seconds", Value: uint64(c.SnapshotAge.Seconds())},
		{Name: "snapshot_failures", Value: c.SnapshotsFailed},
		{Name: "snapshot_failing", Value: oneIf(c.SnapshotFailing)},
		{Name: "cluster_format", Value: uint64(format)},
		{Name: "cluster_format_readable", Value: uint64(reads.Newest)},
		{Name: "cluster_settings_differ", Value: oneIf(known && v.Differ())},
	}
}

// readyWithin is how old what a node shows may be, for clients to be sent there.
const readyWithin = time.Second

// ready says why clients are better off with another node; nil: they are not. It waits for that no longer than readyWithin.
func (r *replica) ready() error {
	v, ok := r.View()
	switch {
	case !ok && v.Cluster == 0:
		return errors.New("this node belongs to no cluster yet")
	case !ok:
		return errors.New("this node begins, or has ended")
	case v.Removed:
		return errors.New("this node is no member of its cluster any more: it was removed")
	case v.Leader == 0:
		return errors.New("no node leads, as far as this one knows")
	case r.Begin(store.ReadMode{Bound: readyWithin}) != nil:
		return fmt.Errorf("this node can't tell what was written until %v ago: it shows entry %d of %d that it knows of", readyWithin, v.Published, v.Committed)
	}
	return nil
}

// ending says why the replica has ended by itself.
func (r *replica) ending() error {
	if err := r.Err(); err != nil {
		return err
	}
	return cluster.ErrStopped
}

// Snapshot is part of netserver.Snapshots.
func (r *replica) Snapshot(context.Context) (version uint64, size int64, err error) {
	version = r.Durable()
	err = r.SaveSnapshot()
	return version, r.Counts().SnapshotBytes, err
}

// Status is part of netserver.Cluster.
func (r *replica) Status() protocol.ClusterResponse {
	v, _ := r.View()
	p := protocol.ClusterResponse{Cluster: v.Cluster, Node: v.Node, Leader: v.Leader, Term: v.Term,
		Committed: v.Committed, Published: v.Published}
	for _, m := range v.Members {
		role := protocol.Learner
		if m.Voter {
			role = protocol.Voter
		}
		p.Members = append(p.Members, protocol.ClusterMember{
			ID: m.ID, Role: role, Reachable: m.Reachable, Matched: m.Matched, Client: m.Client, Peer: m.Peer,
		})
	}
	return p
}

// Change is part of netserver.Cluster.
func (r *replica) Change(ctx context.Context, q protocol.Member) error {
	var err error
	switch q.Change {
	case protocol.MemberAdd:
		err = r.Add(ctx, q.Peer)
	case protocol.MemberRemove:
		err = r.Remove(q.ID)
	default:
		err = r.Transfer(q.ID)
	}
	return changeFailure(err)
}

// changeFailure tells what would be refused again, where nothing else changes, from what may be done later.
func changeFailure(err error) error {
	var wrong *cluster.WrongChangeError
	switch {
	case errors.Is(err, cluster.ErrLeads):
		return &protocol.Error{Status: protocol.StatusBadRequest,
			Message: "this node leads: have another lead first, with cluster transfer, and remove it then"}
	case !errors.As(err, &wrong):
		return err
	case wrong.NoMember:
		return &protocol.Error{Status: protocol.StatusNotFound, Message: err.Error()}
	}
	return &protocol.Error{Status: protocol.StatusBadRequest, Message: err.Error()}
}

// cluster is what CLUSTER and MEMBER are done with; nil: the store is alone.
func (d *data) cluster() netserver.Cluster {
	if d.replica == nil {
		return nil
	}
	return d.replica
}

// ended is closed when the replica has ended by itself; nil: there is none.
func (d *data) ended() <-chan struct{} {
	if d.replica == nil {
		return nil
	}
	return d.replica.Done()
}

// handOver has another node lead, if this one does, so that writes go on there.
func (d *data) handOver() {
	if d.replica == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), handOverLimit)
	defer cancel()
	d.replica.HandOver(ctx)
}
