package cluster

import (
	"sync"

	pb "go.etcd.io/raft/v3/raftpb"
)

// inbox is what the core has not been told yet.
type inbox struct {
	mu       sync.Mutex // guards what follows; held for a moment, also by who holds Node.mu
	messages []*pb.Message
	appended []*Append
	applied  []*Apply
	calls    []func(*Core)
	failure  error
}

// Receive takes messages of other members.
func (n *Node) Receive(messages ...*pb.Message) {
	n.in.mu.Lock()
	n.in.messages = append(n.in.messages, messages...)
	n.in.mu.Unlock()
	n.stepNow()
}

// Call has the loop call f soon.
func (n *Node) Call(f func(*Core)) {
	n.in.mu.Lock()
	n.in.calls = append(n.in.calls, f)
	n.in.mu.Unlock()
	n.poke()
}

// call is Call, and waits until f has been called; false: the node has ended.
func (n *Node) call(f func(*Core)) bool {
	done := make(chan struct{})
	n.Call(func(c *Core) {
		f(c)
		close(done)
	})
	select {
	case <-done:
		return true
	case <-n.done:
		return false
	}
}

// fail ends the node.
func (n *Node) fail(err error) {
	n.in.mu.Lock()
	if n.in.failure == nil {
		n.in.failure = err
	}
	n.in.mu.Unlock()
	n.poke()
}

// deliver tells the core what has come in. Called with Node.mu held.
func (n *Node) deliver() error {
	n.in.mu.Lock()
	messages, appended, applied, calls, failure := n.in.messages, n.in.appended, n.in.applied, n.in.calls, n.in.failure
	n.in.messages, n.in.appended, n.in.applied, n.in.calls = nil, nil, nil, nil
	n.in.mu.Unlock()
	if failure != nil {
		return failure
	}
	for _, a := range appended {
		n.core.Appended(a)
	}
	for _, a := range applied {
		n.core.Applied(a)
	}
	if len(applied) > 0 {
		n.log.Applied(n.core.published)
	}
	for _, m := range messages {
		n.core.Step(m)
	}
	for _, f := range calls {
		f(n.core)
	}
	return nil
}
