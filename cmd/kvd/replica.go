package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"kv/netserver"
	"kv/protocol"
	"kv/store/cluster"
	"kv/store/wal"
)

// handOverLimit is how long a node that ends waits for another to lead.
const handOverLimit = 2 * time.Second

// checkCluster refuses what can't work with --peers, and what is nothing without.
func (o *options) checkCluster() error {
	if len(o.peers) == 0 {
		for name, value := range map[string]place{
			"--peer-listen": o.peerListen, "--advertise": o.advertise, "--peer-tls-cert": o.peerCert, "--peer-tls-key": o.peerKey, "--peer-tls-ca": o.peerCA,
		} {
			if value != "" {
				return fmt.Errorf("%s is for a node of a cluster, and --peers is missing, which says who the others are", name)
			}
		}
		return nil
	}
	for _, address := range o.peers {
		if err := checkAddress("--peers", address); err != nil {
			return err
		}
	}
	switch {
	case o.data == "":
		return errors.New("--peers needs --data: what a node has promised to others, it must not forget")
	case o.peerListen == "":
		return errors.New("--peers needs --peer-listen: the address for the other nodes")
	case o.sync != wal.Always.String():
		return fmt.Errorf("--peers needs --sync always, not %s: what a node has promised to others, it must not forget", o.sync)
	case o.evict != evictNone:
		return errors.New("--peers and --evict exclude each other, for now")
	case (o.peerCert == "") != (o.peerKey == "") || (o.peerCert == "") != (o.peerCA == ""):
		return errors.New("--peer-tls-cert, --peer-tls-key and --peer-tls-ca go together, and one is missing")
	}
	if err := checkAddress("--peer-listen", string(o.peerListen)); err != nil {
		return err
	}
	if o.peerCert == "" && !loopback(string(o.peerListen)) && !o.insecure {
		return fmt.Errorf("--peer-listen %s: everyone who reaches this machine could be a node of the cluster; give --peer-tls-cert, --peer-tls-key and --peer-tls-ca, or allow it with --insecure", o.peerListen)
	}
	_, _, err := o.advertised()
	return err
}

// advertised returns where clients and other nodes reach this one.
func (o *options) advertised() (client, peer string, err error) {
	client, peer = o.listen.list[0], string(o.peerListen)
	if o.advertise != "" {
		var ok bool
		if client, peer, ok = strings.Cut(string(o.advertise), ","); !ok {
			return "", "", fmt.Errorf("--advertise %s: it is two addresses, CLIENT,PEER", o.advertise)
		}
	}
	for _, address := range []string{client, peer} {
		host, port, err := net.SplitHostPort(address)
		if err != nil || host == "" || port == "0" || port == "" {
			return "", "", fmt.Errorf("nobody reaches this node at %q: say where with --advertise CLIENT,PEER", address)
		}
	}
	return client, peer, nil
}

// replica is the store's being one of several.
type replica struct{ *cluster.Replica }

// takeReplica takes the folder of a node, and listens for the others.
func takeReplica(o options, log *slog.Logger) (*replica, error) {
	client, peer, err := o.advertised()
	if err != nil {
		return nil, err
	}
	var secure *tls.Config
	if o.peerCert != "" {
		if secure, err = peerTLS(o); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("tcp", string(o.peerListen))
	if err != nil {
		return nil, fmt.Errorf("--peer-listen: %w", err)
	}
	r, err := cluster.OpenReplica(cluster.ReplicaOptions{
		FS: o.fs, Dir: string(o.data), Listen: l, Client: client, Peer: peer, Peers: o.peers, TLS: secure, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	return &replica{r}, nil
}

// peerTLS reads what the nodes prove to each other who they are with.
func peerTLS(o options) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(string(o.peerCert), string(o.peerKey))
	if err != nil {
		return nil, fmt.Errorf("--peer-tls-cert and --peer-tls-key: %w", err)
	}
	text, err := os.ReadFile(string(o.peerCA))
	if err != nil {
		return nil, fmt.Errorf("--peer-tls-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--peer-tls-ca %s: it has no certificate", o.peerCA)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ClientCAs: pool}, nil
}

// ready says why clients are better off with another node; nil: they are not.
func (r *replica) ready() error {
	v, ok := r.View()
	switch {
	case !ok && v.Cluster == 0:
		return errors.New("this node belongs to no cluster yet")
	case !ok:
		return errors.New("this node does not run")
	case v.Leader == 0:
		return errors.New("no node leads, as far as this one knows")
	case !v.Whole || v.Published < v.Committed:
		return fmt.Errorf("this node is catching up: it shows entry %d of %d", v.Published, v.Committed)
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
	return r.Durable(), 0, r.Keep()
}

// Status is part of netserver.Cluster.
func (r *replica) Status() protocol.ClusterResponse {
	v, _ := r.View()
	p := protocol.ClusterResponse{Cluster: v.Cluster, Node: v.Node, Leader: v.Leader, Term: v.Term, Committed: v.Committed, Published: v.Published}
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
	switch q.Change {
	case protocol.MemberAdd:
		return r.Add(ctx, q.Peer)
	case protocol.MemberRemove:
		err := r.Remove(q.ID)
		if errors.Is(err, cluster.ErrLeads) {
			return errors.New("this node leads: have another lead first, with cluster transfer, and remove it then")
		}
		return err
	}
	return r.Transfer(q.ID)
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

// handOver has another node lead, if this one does: what is to be written goes on there.
func (d *data) handOver() {
	if d.replica == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), handOverLimit)
	defer cancel()
	d.replica.HandOver(ctx)
}
