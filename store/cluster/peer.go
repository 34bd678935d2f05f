package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
)

// peer is the stream to a member.
type peer struct {
	p       *Peers
	id      uint64
	address string // where the members say that it is
	guest   bool   // it is no member, as far as this node knows, but talks to it: it may be a newer one
	cancel  context.CancelFunc

	reached   atomic.Pointer[string] // where there is a stream to it, nil: there is none. It publishes nothing else: a message that is queued just after the stream has ended is lost, as any may be
	said      atomic.Pointer[string] // publishes where it was seen last, if that is elsewhere: it has moved, and the members do not say so yet; nil: it was not
	roundTrip atomic.Int64           // of the last ping, in ns; 0: there was none

	mu    sync.Mutex // guards queue, bytes and out
	queue []*pb.Message
	bytes int
	out   *outlet // while the member is reached; else nil
	wake  chan struct{}
	there chan struct{} // holds a token when the member has dialed this node: the member can be dialed, then
}

// errHere is why a member is not dialed: it was at the address before.
var errHere = errors.New("this node is at the address now")

// seen says that the member is at an address, whatever the members say, and that it can be dialed.
func (m *peer) seen(address string) {
	if address == m.address {
		m.said.Store(nil)
	} else if address != m.p.o.Address {
		m.said.Store(&address)
	}
	select {
	case m.there <- struct{}{}:
	default:
	}
}

// dial makes a stream to the member, where it was seen last, or else where the members say that it is. Where it was
// seen is forgotten once it is elsewhere, and not because a dial fails: it does not say so again while the stream from
// it lasts.
func (m *peer) dial(ctx context.Context) (conn net.Conn, address string, err error) {
	said := m.said.Load()
	if said != nil {
		if conn, err = m.p.dial(ctx, m.id, *said, classRaft); err == nil {
			return conn, *said, nil
		}
	}
	listed, there := m.dialListed(ctx)
	switch {
	case said == nil:
		return listed, m.address, there
	case there != nil:
		return nil, *said, err
	}
	m.said.CompareAndSwap(said, nil)
	return listed, m.address, nil
}

// dialListed makes a stream to the member where the members say that it is, unless this node is there.
func (m *peer) dialListed(ctx context.Context) (net.Conn, error) {
	if m.address == m.p.o.Address {
		return nil, errHere
	}
	return m.p.dial(ctx, m.id, m.address, classRaft)
}

// where is the address at which the member is dialed: that of the stream, where there is one.
func (m *peer) where() string {
	if at := m.reached.Load(); at != nil {
		return *at
	}
	if said := m.said.Load(); said != nil {
		return *said
	}
	return m.address
}

// add queues a message, unless too much is queued. It sends nothing: see flush.
func (m *peer) add(msg *pb.Message) bool {
	size := 0
	for _, e := range msg.GetEntries() {
		size += len(e.GetData())
	}
	m.mu.Lock()
	if m.reached.Load() == nil || m.bytes > 0 && m.bytes+size > maxQueued {
		m.mu.Unlock()
		return false
	}
	m.queue = append(m.queue, msg)
	m.bytes += size
	m.mu.Unlock()
	return true
}

// take returns all that is queued.
func (m *peer) take() []*pb.Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	queue := m.queue
	m.queue, m.bytes = nil, 0
	return queue
}

// mostAtOnce is how many bytes who has queued something sends himself, at most: more is for the goroutine of the stream.
const mostAtOnce = 64 << 10

// flush sends what is queued, as far as that waits for nothing: who brings it saves it a change of goroutines. The
// goroutine of the stream sends the rest.
func (m *peer) flush() {
	m.mu.Lock()
	out, some, small := m.out, len(m.queue) > 0, m.bytes <= mostAtOnce
	m.mu.Unlock()
	if out == nil || !some {
		return
	}
	if small && out.raw != nil && out.mu.TryLock() {
		done, closed := false, false
		if len(out.buf) == 0 {
			done, closed = out.try(m.take())
		}
		out.mu.Unlock()
		if closed { // there may be another connection already
			m.p.o.Unreachable(m.id)
		}
		if done {
			return
		}
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// comesWithin is how long a member may belong to no cluster before that is logged: a node that is founded, or joins,
// belongs to none for a moment.
const comesWithin = 30 * time.Second

// run keeps a stream to the member.
func (m *peer) run(ctx context.Context) {
	pause, told, soon, since := dialPause, false, false, time.Now()
	for ctx.Err() == nil {
		conn, address, err := m.dial(ctx)
		if errors.Is(err, syscall.ECONNREFUSED) && m.p.o.Down != nil {
			m.p.o.Down(m.id)
		}
		if soon = false; err == nil {
			m.p.o.Logger.Info("a member is reached", "node", idText(m.id), "address", address)
			pause, told = dialPause, false
			m.reached.Store(&address)
			since = time.Now()
			err = m.send(ctx, conn)
			m.reached.Store(nil)
			soon = time.Since(since) > maxDialPause // whether it has ended is to be known
			since = time.Now()
			m.take()
			m.p.o.Unreachable(m.id)
		}
		if ctx.Err() != nil {
			return
		}
		if !told && (!errors.Is(err, errNoCluster) || time.Since(since) > comesWithin) { // once, not each second
			m.p.o.Logger.Warn("a member is not reached", "node", idText(m.id), "address", address, "error", err)
			told = true
		}
		if soon {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause + time.Duration(rand.Int64N(int64(pause)))):
		case <-m.there:
		}
		pause = min(2*pause, maxDialPause)
	}
}

// noPing is what the reading side of a connection sends, as a sign of life, when it has no ping to answer.
const noPing = 1<<32 - 1

// send sends the queued messages, and pings the other side to notice when it is gone.
func (m *peer) send(ctx context.Context, c net.Conn) error {
	conn := alive{c, m.p.o.DeadAfter}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	start := time.Now()
	var deaf error // why nothing is heard any more, published by gone
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		var b [4]byte
		for {
			if _, err := io.ReadFull(conn, b[:]); err != nil {
				deaf = err
				conn.Close() // ends a write that is under way
				return
			}
			if ping := binary.BigEndian.Uint32(b[:]); ping != noPing {
				m.roundTrip.Store(int64(time.Since(start) - time.Duration(ping)*time.Microsecond))
			}
		}
	}()
	err := m.write(ctx, c, start, gone)
	conn.Close()
	<-gone
	switch {
	case errors.Is(deaf, os.ErrDeadlineExceeded):
		return fmt.Errorf("the member has not been heard of for %v", m.p.o.DeadAfter)
	case !errors.Is(deaf, net.ErrClosed): // else this side has closed the connection
		return fmt.Errorf("the member has ended the connection: %w", deaf)
	}
	return err
}

// write sends what is queued, and pings, until there is an error, nothing is heard any more, or ctx ends.
func (m *peer) write(ctx context.Context, conn net.Conn, start time.Time, gone <-chan struct{}) error {
	out := newOutlet(conn, m.p.o.DeadAfter)
	m.setOut(out)
	defer m.setOut(nil)
	ping := time.NewTicker(m.p.o.DeadAfter / 3)
	defer ping.Stop()
	send := func(pings bool) error {
		out.mu.Lock()
		defer out.mu.Unlock()
		for _, msg := range m.take() {
			if err := out.encode(msg); err != nil {
				return err
			}
			if len(out.buf) < aliveChunk {
				continue
			}
			if err := out.write(); err != nil {
				return err
			}
		}
		if pings {
			out.buf = appendPing(out.buf, uint32(time.Since(start)/time.Microsecond)&(noPing>>1))
		}
		return out.write()
	}
	for pings := false; ; {
		if err := send(pings); err != nil {
			return err
		}
		pings = false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-gone:
			return nil // send knows why
		case <-m.wake:
		case <-ping.C:
			pings = true
		}
	}
}

func (m *peer) setOut(out *outlet) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.out = out
}
