package cluster

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
)

// lan hands messages over at once.
type lan struct {
	mu    sync.Mutex
	nodes map[uint64]*Node
	cut   uint64 // all messages of this node are lost; 0: of none
}

func (l *lan) Send(messages []*pb.Message) {
	for _, m := range messages {
		l.mu.Lock()
		n := l.nodes[m.GetTo()]
		lost := l.lost(m)
		l.mu.Unlock()
		if n != nil && !lost {
			n.Receive(m) // it may send at once, too
		}
	}
}

func (l *lan) Flush() {}

func (l *lan) SetMembers(map[uint64]string) {}

func (l *lan) SetFormat(uint16) {}

func (l *lan) SendSnapshot(_ context.Context, m *pb.Message, write func(io.Writer) error) error {
	l.mu.Lock()
	to := l.nodes[m.GetTo()]
	l.mu.Unlock()
	if to == nil {
		return errors.New("it is not there")
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(write(w)) }()
	defer r.Close()
	return to.TakeIn(m, r)
}

// isolate loses all messages of a node for a while.
func (l *lan) isolate(id uint64, d time.Duration, stop chan struct{}) {
	l.mu.Lock()
	l.cut = id
	l.mu.Unlock()
	select {
	case <-stop:
	case <-time.After(d):
	}
	l.mu.Lock()
	l.cut = 0
	l.mu.Unlock()
}

// cutOff loses all messages of a node from now on; 0: of none.
func (l *lan) cutOff(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = id
}

func (l *lan) lost(m *pb.Message) bool {
	return l.cut != 0 && (m.GetFrom() == l.cut || m.GetTo() == l.cut)
}
