package sim

import (
	"math/rand/v2"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
)

// packet is a message on its way, or a snapshot.
type packet struct {
	m        *pb.Message
	at       time.Duration // not delivered before
	snapshot *snapshot
}

// network has the packets that are on their way.
type network struct {
	rng     *rand.Rand
	now     *time.Duration
	packets []packet
	cut     map[[2]uint64]bool // links, from and to

	drop, double int           // of a thousand
	delay        time.Duration // the most that a message takes
}

func (n *network) send(m *pb.Message) {
	if n.cut[[2]uint64{m.GetFrom(), m.GetTo()}] || n.rng.IntN(1000) < n.drop {
		return
	}
	for {
		n.packets = append(n.packets, packet{m: m, at: *n.now + time.Duration(n.rng.Int64N(int64(n.delay)+1))})
		if n.rng.IntN(1000) >= n.double {
			return
		}
	}
}

// take returns a packet that may be delivered now, any of them.
func (n *network) take() (p packet, ok bool) {
	for range 4 {
		if len(n.packets) == 0 {
			return p, false
		}
		i := n.rng.IntN(len(n.packets))
		if p = n.packets[i]; p.at <= *n.now {
			last := len(n.packets) - 1
			n.packets[i] = n.packets[last]
			n.packets = n.packets[:last]
			return p, !n.cut[[2]uint64{p.m.GetFrom(), p.m.GetTo()}]
		}
	}
	return p, false
}
