package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// dial makes a stream to a member, 0: whoever is there. Both sides have said who they are then.
func (p *Peers) dial(ctx context.Context, id uint64, address string, class byte) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	bare, err := p.o.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { bare.Close() })
	conn, err := p.greet(ctx, bare, id, address, class)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// errElsewhere is the error of a stream to a node that is no more where it was.
var errElsewhere = errors.New("another node is at the address now")

// errNoCluster is the error of a stream to a node that belongs to no cluster yet.
var errNoCluster = errors.New("the node belongs to no cluster: it is to be founded, or to join")

func (p *Peers) greet(ctx context.Context, conn net.Conn, id uint64, address string, class byte) (net.Conn, error) {
	if p.o.TLS != nil {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return conn, err
		}
		c := p.o.TLS().Clone()
		c.ServerName, c.MinVersion = host, tls.VersionTLS13
		t := tls.Client(conn, c)
		conn = t
		if err := t.HandshakeContext(ctx); err != nil {
			return conn, err
		}
	}
	h := hello{group: p.o.Group, cluster: p.cluster.Load(), from: p.o.ID, to: id, class: class,
		formats: p.o.Formats.or(built), text: p.o.Address}
	if err := h.write(conn); err != nil {
		return conn, err
	}
	a, err := readHello(conn)
	switch {
	case err != nil:
		return conn, fmt.Errorf("the other side has not said who it is: %w", err)
	case a.class == 0 && a.cluster == 0:
		return conn, errNoCluster
	case a.class == 0 && id != 0 && a.from != id && a.cluster == p.cluster.Load():
		p.seen(a.from, address) // two members may have changed places
		fallthrough
	case a.class == 0:
		return conn, fmt.Errorf("node %d refuses: %s", a.from, a.text)
	}
	return conn, p.check(a, id, class)
}

// check compares what the other side says of itself with whom this side has meant to reach. A question may go to any
// node.
func (p *Peers) check(h hello, id uint64, class byte) error {
	switch {
	case h.version != streamVersion:
		return fmt.Errorf("node %d speaks version %d of the streams, and node %d version %d: the one of the lower has a kvd that is too old for the other, and is to be upgraded",
			h.from, h.version, p.o.ID, streamVersion)
	case h.class != class:
		return errNoPeer
	case class == classControl:
		return nil
	case h.cluster != p.cluster.Load() || h.cluster == 0:
		return fmt.Errorf("node %d is of cluster %d, and node %d of cluster %d: one of the two was recovered or restored meanwhile; remove the folder of the one whose data are to go, and let it join anew",
			h.from, h.cluster, p.o.ID, p.cluster.Load())
	case h.group != p.o.Group:
		return fmt.Errorf("node %d is of group %d, and node %d of group %d", h.from, h.group, p.o.ID, p.o.Group)
	case h.formats.check(p.written()) != nil:
		return h.formats.check(p.written())
	case h.from != id:
		return fmt.Errorf("node %d is at the address of node %d now", h.from, id)
	}
	return nil
}

// refuse says why a stream is not taken.
func (p *Peers) refuse(h hello, cert interface{ VerifyHostname(string) error }) error {
	switch {
	case h.class < classRaft || h.class > classControl:
		return fmt.Errorf("streams of class %d are not known here", h.class)
	case h.class != classControl && p.cluster.Load() == 0:
		return errNoCluster
	}
	if err := p.check(h, h.from, h.class); err != nil {
		return err
	}
	if h.to != 0 && h.to != p.o.ID {
		return fmt.Errorf("%w: the stream is meant for node %d, and here is node %d", errElsewhere, h.to, p.o.ID)
	}
	if cert == nil {
		return nil
	}
	address := h.text
	p.mu.Lock()
	if m := p.members[h.from]; m != nil && h.class != classControl { // a question may be where it has moved to
		address = m.address
	}
	p.mu.Unlock()
	host, _, err := net.SplitHostPort(address)
	if err == nil {
		err = cert.VerifyHostname(host)
	}
	if err != nil {
		return fmt.Errorf("the certificate is not that of a member at %s: %w", address, err)
	}
	return nil
}

// alive is a connection whose every read and write may take no longer than it may be silent, however much there is to come.
type alive struct {
	net.Conn
	within time.Duration
}

// aliveChunk is how much is written at a time.
const aliveChunk = 64 << 10

func (a alive) Read(b []byte) (int, error) {
	a.SetReadDeadline(time.Now().Add(a.within))
	return a.Conn.Read(b)
}

func (a alive) Write(b []byte) (n int, err error) {
	for err == nil && n < len(b) {
		a.SetWriteDeadline(time.Now().Add(a.within))
		var k int
		k, err = a.Conn.Write(b[n:min(n+aliveChunk, len(b))])
		n += k
	}
	return n, err
}
