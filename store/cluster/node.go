package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// Log is what keeps a Core's Appends. Its methods of raft.Storage show what has been saved, and do not wait for a disk.
type Log interface {
	raft.Storage
	// Save does several Appends, in order, with one sync at the end if one of them asks for it. After an error nothing is
	// called any more (C9).
	Save(appends []*Append) error
	// Pin keeps the entries behind index until the pin is released.
	Pin(index uint64) *Pin
	// Applied says up to which index the log has been applied.
	Applied(index uint64)
	// Wants reports whether Fetch has something to read, for a follower that is far behind. Fetch may wait for a disk.
	Wants() bool
	Fetch() error
}

// StateMachine is what a log is applied to. One goroutine calls it, in the log's order.
type StateMachine interface {
	// Apply publishes an entry. What it does depends on nothing but the entries so far (C10).
	Apply(e *Committed) error
	// Abandon forgets what was proposed in a term and not published. It comes before any entry of a later one.
	Abandon(term uint64)
	// Walk writes a snapshot of the live state to w, which has all up to base, and parts that are newer. It is called
	// beside the others.
	Walk(base Base, w io.Writer) error
	// Receive reads what another node's Walk has written, and makes it durable. It is called beside the others.
	Receive(base Base, r io.Reader) error
	// Install puts the snapshot of base, which was received, in the place of all state, and returns the index from
	// which on the state is one.
	Install(base Base) (whole uint64, err error)
}

// Transport is the way to the other members.
type Transport interface {
	// Send takes messages, which leave with the next Flush at the latest. It does not wait, and may lose them.
	Send(messages []*pb.Message)
	// Flush has what Send took leave. It does not wait, and any goroutine may call it.
	Flush()
	// SetMembers says where the members are. It does not wait.
	SetMembers(addresses map[uint64]string)
	// SetFormat says which format the cluster writes. It does not wait.
	SetFormat(format uint16)
	// SendSnapshot streams a snapshot to the member that m is for, and returns once that has it.
	SendSnapshot(ctx context.Context, m *pb.Message, write func(w io.Writer) error) error
}

// ErrStopped is the error of what waits when a Node stops.
var ErrStopped = errors.New("this node has stopped")

// Node runs a Core, which one goroutine at a time steps, with mu held: that which tells it of time, and those that have
// something to tell it: for the log, for the state machine, and those that read from other members. Nobody holds mu
// while he waits for anything (C11).
type Node struct {
	mu     sync.Mutex // held by who touches the core, but for its Proposals and Reads
	core   *Core
	failed error         // why the core is touched no more; guarded by mu
	queued bool          // the transport was given messages since it was told to send them; guarded by mu
	due    time.Duration // when the loop steps the core though nothing happens; 0: it does not; guarded by mu

	log       Log
	machine   StateMachine
	transport Transport
	logger    *slog.Logger

	streams sync.WaitGroup  // of snapshots
	ctx     context.Context // ends when the node stops
	members uint64          // changes of them that the transport was told of; guarded by mu

	wake    chan struct{}
	in      inbox
	logQ    queue[*Append]
	appQ    queue[*Apply]
	fetches chan struct{} // says that the log wants something

	sent, taken snapshotCounter

	applying []*Apply // the state machine's goroutine's; of nobody once that has ended

	status atomic.Pointer[Status]        // never changed once it is published
	turned atomic.Pointer[chan struct{}] // closed, and another made, when another node leads, or this one takes writes or no more
	stop   chan struct{}
	once   sync.Once
	err    error         // why it ended, published by done
	done   chan struct{} // closed when all goroutines have ended
}

// NodeOptions are those of the Core, but for what the Node gives itself, and what is around it.
type NodeOptions struct {
	CoreOptions
	Log       Log
	Machine   StateMachine
	Transport Transport
}

// Start begins to run a replica.
func Start(o NodeOptions) (*Node, error) {
	n := &Node{
		log: o.Log, machine: o.Machine, transport: o.Transport, logger: o.Logger,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}), fetches: make(chan struct{}, 1),
	}
	n.turned.Store(new(make(chan struct{})))
	n.logQ.init()
	n.appQ.init()
	o.CoreOptions.Log, o.CoreOptions.Wake = o.Log, n.poke
	if o.Clock == nil {
		start := time.Now()
		o.CoreOptions.Clock = func() time.Duration { return time.Since(start) }
	}
	core, err := NewCore(o.CoreOptions)
	if err != nil {
		return nil, err
	}
	n.core = core
	n.noteStatus()
	if v := core.conf.GetVoters(); len(v) == 1 && v[0] == o.ID { // there is nobody to wait for
		n.Call(func(c *Core) {
			if err := c.Campaign(); err != nil {
				o.Logger.Debug("this node, which is alone, does not stand for election at once", "error", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.ctx = ctx
	var wg sync.WaitGroup
	wg.Go(n.loop)
	wg.Go(n.save)
	wg.Go(n.apply)
	wg.Go(n.fetch)
	wg.Go(func() {
		<-n.stop
		cancel()
	})
	go func() {
		wg.Wait()
		n.streams.Wait()
		for _, a := range append(n.applying, n.appQ.items...) { // what will not be applied
			for _, e := range a.Entries {
				if e.Batch != nil {
					e.Batch.resolve(ErrUnknown)
				}
			}
		}
		close(n.done)
	}()
	return n, nil
}

// Proposals is where writes go.
func (n *Node) Proposals() *Proposals { return n.core.Proposals }

// Reads is where reads wait.
func (n *Node) Reads() *Reads { return n.core.Reads }

// Stop ends the node, and waits for that. What is under way fails.
func (n *Node) Stop() {
	n.once.Do(func() { close(n.stop) })
	<-n.done
}

// Done is closed when the node has ended.
func (n *Node) Done() <-chan struct{} { return n.done }

// pause waits for so long; false: the node, or ctx, has ended.
func (n *Node) pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-n.done:
		return false
	case <-time.After(d):
		return true
	}
}

// Err says why, once Done is closed; nil: it was stopped.
func (n *Node) Err() error { return n.err }

func (n *Node) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// end fails all that waits.
func (n *Node) end() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failed == nil {
		n.failed = ErrStopped
	}
	n.core.Proposals.leader.Store(0)
	n.core.Proposals.close()
	n.core.closeReads(ErrStopped)
	n.once.Do(func() { close(n.stop) })
}

// save is the log's goroutine.
func (n *Node) save() {
	for {
		appends, ok := n.logQ.take(n.stop)
		if !ok {
			return
		}
		if err := n.log.Save(appends); err != nil {
			n.fail(fmt.Errorf("write the log: %w", err))
			return
		}
		n.in.mu.Lock()
		n.in.appended = append(n.in.appended, appends...)
		n.in.mu.Unlock()
		n.stepNow()
	}
}

// fetch reads what followers lack and is not in memory. The library asks again by itself.
func (n *Node) fetch() {
	for {
		select {
		case <-n.stop:
			return
		case <-n.fetches:
		}
		if err := n.log.Fetch(); err != nil {
			n.fail(fmt.Errorf("read the log: %w", err))
			return
		}
	}
}

// apply is the state machine's goroutine.
func (n *Node) apply() {
	for {
		applies, ok := n.appQ.take(n.stop)
		if !ok {
			return
		}
		n.applying = applies
		for _, a := range applies {
			if err := n.applyOne(a); err != nil {
				n.fail(fmt.Errorf("apply the log: %w", err))
				return
			}
			n.in.mu.Lock()
			n.in.applied = append(n.in.applied, a)
			n.in.mu.Unlock()
			n.stepNow()
		}
		n.applying = nil
	}
}

func (n *Node) applyOne(a *Apply) error {
	if a.Abandon != 0 {
		n.machine.Abandon(a.Abandon)
	}
	if a.Install != nil {
		n.core.Swap(a)
		base, err := BaseOf(a.Install)
		if err != nil {
			return err
		}
		whole, err := n.machine.Install(base)
		if err != nil {
			return fmt.Errorf("install a snapshot: %w", err)
		}
		a.Whole = whole
	}
	for i := range a.Entries {
		e := &a.Entries[i]
		if err := n.machine.Apply(e); err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
		e.Published()
	}
	return nil
}
