package cluster

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

const (
	// deadAfter is how long a stream may be silent. Both sides say three times in that time that they are there. The
	// system's own ways take minutes to notice that a network is gone, and to try again when it is back.
	deadAfter = 3 * time.Second
	// dialTimeout is how long a dial, with the greeting, may take. Between dials that fail there is dialPause at least, and
	// maxDialPause at most.
	dialTimeout  = 2 * time.Second
	dialPause    = 50 * time.Millisecond
	maxDialPause = time.Second
	// maxRefused is how many refusals are remembered, to be told once.
	maxRefused = 256
	// lastWords is how long the queue for a removed node may take to empty: the node learns from it that it was removed.
	lastWords = time.Second
	// maxQueued is how many bytes wait for a member: what Raft lets be on its way, and then some. More is dropped: Raft
	// sends it again.
	maxQueued = 2 * maxInFlight
)

// PeersOptions say who this node is among its peers.
type PeersOptions struct {
	Cluster uint64 // its random number; streams of another are refused, on both sides
	Group   uint32
	ID      uint64
	Address string  // at which the others reach this node: host:port
	Formats Formats // the formats that this node reads; zero: those of this package
	// TLS is called for each connection, and is how both sides prove who they are; nil: they don't. A certificate is to
	// be valid for the host of the member's address, at both ends.
	TLS func() *tls.Config
	// Receive takes messages that have come. It does not wait.
	Receive func(...*pb.Message)
	// Unreachable is told that messages to a member were lost. It does not wait.
	Unreachable func(id uint64)
	// Down is told of a member whose process does not run: nothing listens at its address. Down does not wait. Nil: nobody
	// is told.
	Down func(id uint64)
	// Snapshot takes in a snapshot that a member streams, durably, and has m stepped then. r ends with io.EOF only
	// where the stream does.
	Snapshot func(m *pb.Message, r io.Reader) error
	// Control answers a question that is not Raft's, of a node of a cluster, 0: of none yet. It does not wait for other nodes.
	Control func(cluster uint64, question []byte) ([]byte, error)
	Logger  *slog.Logger
	// DeadAfter is how long a stream may be silent; 0: deadAfter.
	DeadAfter time.Duration
	// Dial makes a connection; nil: TCP, to the address that the name has at this moment.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// Peers is a Transport over TCP: a stream to each member for Raft's messages, and one for each snapshot and question. A
// name is looked up again at each dial: addresses change.
type Peers struct {
	o      PeersOptions
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // all goroutines; Close waits for them

	format  atomic.Uint32          // that of the cluster, as SetFormat has said
	cluster atomic.Uint64          // that of the options, or what SetCluster has said
	wants   atomic.Pointer[string] // publishes where a node is, as it says, to which this one, of no cluster yet, is a member; nil: there was none

	mu      sync.Mutex            // guards what follows, and guest of the peers
	members map[uint64]*peer      // guests too
	conns   map[net.Conn]struct{} // that others have dialed
	refused map[string]time.Time  // when a refusal was told last
	closed  bool
}

var _ Transport = (*Peers)(nil)

// NewPeers begins to take the streams that others dial at l, which is closed with it.
func NewPeers(l net.Listener, o PeersOptions) *Peers {
	p := &Peers{o: o, members: map[uint64]*peer{}, conns: map[net.Conn]struct{}{}, refused: map[string]time.Time{}}
	p.cluster.Store(o.Cluster)
	if p.o.DeadAfter == 0 {
		p.o.DeadAfter = deadAfter
	}
	if p.o.Dial == nil {
		p.o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.wg.Go(func() { p.accept(l) })
	p.wg.Go(func() {
		<-p.ctx.Done()
		l.Close()
	})
	return p
}

// SetMembers says who the members are, and where. This node may be among them. What members have said themselves of
// where they are stays known: the list may be older than that, as it is while a log is applied at a start.
func (p *Peers) SetMembers(addresses map[uint64]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	seen := map[uint64]string{}
	for id, m := range p.members {
		address, member := addresses[id]
		if said := m.said.Load(); member && said != nil {
			seen[id] = *said
		} else if member && m.guest {
			seen[id] = m.address
		}
		if member && address == m.address {
			m.guest = false
		} else if member || !m.guest {
			time.AfterFunc(lastWords, m.cancel)
			delete(p.members, id)
		}
	}
	for id, address := range addresses {
		if id != p.o.ID && p.members[id] == nil {
			p.begin(id, address, seen[id])
		}
	}
}

// begin begins to keep a stream to a node, which was seen somewhere; empty: nowhere. Called with mu held.
func (p *Peers) begin(id uint64, address, seen string) *peer {
	ctx, cancel := context.WithCancel(p.ctx)
	m := &peer{p: p, id: id, address: address, cancel: cancel, wake: make(chan struct{}, 1), there: make(chan struct{}, 1)}
	p.members[id] = m
	if seen != "" {
		m.seen(seen)
	}
	p.wg.Go(func() { m.run(ctx) })
	return m
}

// host lets this node answer another one that it does not know as a member: it may have missed that the other was added.
// The function that is returned ends this. A member that comes back is dialed at once, at the address that it says.
func (p *Peers) host(id uint64, address string) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.members[id]; m != nil {
		m.seen(address)
	}
	if p.closed || p.members[id] != nil {
		return func() {}
	}
	m := p.begin(id, address, "")
	m.guest = true
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if m.guest && p.members[id] == m {
			m.cancel()
			delete(p.members, id)
		}
	}
}

// seen says that a node of this cluster was met at an address. A member is dialed there from now on, whatever the list
// of members says: where several members have moved, no leader could learn of it otherwise.
func (p *Peers) seen(id uint64, address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.members[id]; m != nil {
		m.seen(address)
	}
}

// SetFormat is part of Transport.
func (p *Peers) SetFormat(format uint16) { p.format.Store(uint32(format)) }

// written is the format that the cluster writes, as far as this node knows.
func (p *Peers) written() uint16 { return uint16(max(p.format.Load(), 1)) }

// SetCluster says which cluster this node has come to belong to.
func (p *Peers) SetCluster(id uint64) { p.cluster.Store(id) }

// Reachable reports whether there is a stream to a member, and how long its last ping took, 0: it is not known.
func (p *Peers) Reachable(id uint64) (bool, time.Duration) {
	p.mu.Lock()
	m := p.members[id]
	p.mu.Unlock()
	if m == nil {
		return false, 0
	}
	return m.reached.Load() != nil, time.Duration(m.roundTrip.Load())
}

// at returns where a member is reached, empty: it is not; and where it is dialed, empty: no such member is known.
func (p *Peers) at(id uint64) (reached, dialed string) {
	p.mu.Lock()
	m := p.members[id]
	p.mu.Unlock()
	if m == nil {
		return "", ""
	}
	if at := m.reached.Load(); at != nil {
		reached = *at
	}
	return reached, m.where()
}

// Send is part of Transport.
func (p *Peers) Send(messages []*pb.Message) {
	var lost []uint64
	p.mu.Lock()
	for _, m := range messages {
		if to := p.members[m.GetTo()]; to == nil || !to.add(m) {
			lost = append(lost, m.GetTo())
		}
	}
	p.mu.Unlock()
	for _, id := range lost {
		p.o.Unreachable(id)
	}
}

// Flush is part of Transport. What goes to a member together is one write.
func (p *Peers) Flush() {
	var few [8]*peer
	p.mu.Lock()
	all := few[:0]
	for _, m := range p.members {
		all = append(all, m)
	}
	p.mu.Unlock()
	for _, m := range all {
		m.flush()
	}
}

// Close ends all streams, and waits for that.
func (p *Peers) Close() {
	p.mu.Lock()
	p.closed = true
	for conn := range p.conns {
		conn.Close()
	}
	p.mu.Unlock()
	p.cancel()
	p.wg.Wait()
}

// accept takes the streams that others dial.
func (p *Peers) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
		case p.ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default: // too many open files, say: it may pass
			p.o.Logger.Warn("a peer's connection can't be taken", "error", err)
			select {
			case <-p.ctx.Done():
			case <-time.After(dialPause):
			}
			continue
		}
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			conn.Close()
			return
		}
		p.conns[conn] = struct{}{}
		p.mu.Unlock()
		p.wg.Go(func() {
			defer func() {
				conn.Close()
				p.mu.Lock()
				delete(p.conns, conn)
				p.mu.Unlock()
			}()
			p.tellEnd(conn, p.serve(conn))
		})
	}
}

// refusedError is why a connection was not taken as a peer's stream.
type refusedError struct{ error }

func (e *refusedError) Unwrap() error { return e.error }

// refusedAgain is how often the same refusal of the same host is told: who is refused tries again each second.
const refusedAgain = 10 * time.Minute

// tellEnd tells why a stream has ended, as far as that is news: where a member is not reached any more, the stream to
// it says so, too.
func (p *Peers) tellEnd(conn net.Conn, err error) {
	refused := (*refusedError)(nil)
	from := conn.RemoteAddr().String()
	switch {
	case err == nil || p.ctx.Err() != nil:
	case !errors.As(err, &refused):
		p.o.Logger.Debug("a stream of a peer has ended", "from", from, "error", err)
	case errors.Is(err, errNoCluster): // it comes to one in a moment: see Belong
	default:
		host, _, _ := net.SplitHostPort(from)
		line, now := host+" "+err.Error(), time.Now()
		p.mu.Lock()
		at, told := p.refused[line]
		if told = told && now.Sub(at) < refusedAgain; !told {
			if len(p.refused) >= maxRefused { // somebody who comes with ever new ones
				clear(p.refused)
			}
			p.refused[line] = now
		}
		p.mu.Unlock()
		if !told {
			level := slog.LevelWarn
			if errors.Is(err, errElsewhere) { // until the others know
				level = slog.LevelInfo
			}
			p.o.Logger.Log(p.ctx, level, "a connection was not taken as a peer's", "from", from, "error", err)
		}
	}
}

// serve reads a stream that another has dialed.
func (p *Peers) serve(conn net.Conn) error {
	conn.SetDeadline(time.Now().Add(dialTimeout))
	var cert interface{ VerifyHostname(string) error }
	if p.o.TLS != nil {
		c := p.o.TLS().Clone()
		c.ClientAuth, c.MinVersion = tls.RequireAndVerifyClientCert, tls.VersionTLS13
		t := tls.Server(conn, c)
		if err := t.HandshakeContext(p.ctx); err != nil {
			return &refusedError{err}
		}
		cert, conn = t.ConnectionState().PeerCertificates[0], t
	}
	h, err := readHello(conn)
	if err != nil {
		return &refusedError{err}
	}
	answer := hello{group: p.o.Group, cluster: p.cluster.Load(), from: p.o.ID, to: h.from, class: h.class,
		formats: p.o.Formats.or(built), text: p.o.Address}
	if err := p.refuse(h, cert); err != nil {
		if errors.Is(err, errNoCluster) && h.to == p.o.ID && h.cluster != 0 {
			p.wants.Store(&h.text)
		}
		answer.class, answer.text = 0, err.Error()
		return &refusedError{errors.Join(err, answer.write(conn))}
	}
	if err := answer.write(conn); err != nil {
		return err
	}
	switch h.class {
	case classRaft:
		defer p.host(h.from, h.text)()
		return p.serveRaft(conn)
	case classSnapshot:
		return p.serveSnapshot(conn)
	}
	return p.serveControl(conn, h)
}

// serveRaft gives on the messages of a stream.
func (p *Peers) serveRaft(c net.Conn) error {
	c.SetDeadline(time.Time{})
	conn := alive{c, p.o.DeadAfter}
	pings, done := make(chan uint32, 1), make(chan struct{})
	var answers sync.WaitGroup
	defer answers.Wait()
	defer close(done)
	answers.Go(func() { // beside the reader: a large message takes its time
		idle := time.NewTicker(p.o.DeadAfter / 3)
		defer idle.Stop()
		for {
			ping := uint32(noPing)
			select {
			case <-done:
				return
			case ping = <-pings:
			case <-idle.C:
			}
			if _, err := conn.Write(binary.BigEndian.AppendUint32(nil, ping)); err != nil {
				conn.Close()
				return
			}
		}
	})
	r := bufio.NewReaderSize(conn, aliveChunk)
	var come []*pb.Message // together
	for {
		body, ping, err := readFrame(r)
		if err != nil {
			return err
		}
		if body == nil {
			select {
			case pings <- ping:
			default: // the last one is not answered yet
			}
		} else {
			m := new(pb.Message)
			if err := proto.Unmarshal(body, m); err != nil {
				return fmt.Errorf("decode a message: %w", err)
			}
			if m.GetTo() != p.o.ID || raft.IsLocalMsgTarget(m.GetFrom()) || m.GetType() == pb.MsgSnap {
				return fmt.Errorf("a message %v from %d to %d is none that comes this way", m.GetType(), m.GetFrom(), m.GetTo())
			}
			come = append(come, m)
		}
		if len(come) > 0 && !hasFrame(r) {
			p.o.Receive(come...)
			come = nil
		}
	}
}
