package sim

import (
	"errors"
	"fmt"

	"kv/store/cluster"
)

// onlyFirst is what the oldest program reads; a newer one reads the second format too.
var onlyFirst = cluster.Formats{Oldest: 1, Newest: 1}

// upgrades reports whether programs are replaced by newer and older ones as nodes start. One cluster in seven is like
// that, so that what the other seeds have found stays what they find.
func (s *Sim) upgrades() bool { return s.Seed%7 == 3 }

// replaceProgram has a start be one with a newer program, or an older one, or the same.
func (n *node) replaceProgram() {
	if n.sim.upgrades() && !n.sim.calm {
		n.reads.Newest = uint16(1 + n.sim.rng.IntN(2))
	}
}

// refused reports whether a node has ended since its program does not read what the cluster writes. It was replaced by
// an older one then, while the others had been told of the newer; its next start is with that.
func (n *node) refused(why any) bool {
	err, ok := why.(error)
	if unread := (*cluster.FormatError)(nil); !ok || !errors.As(err, &unread) || n.said.Newest < unread.Format {
		return false
	}
	n.sim.note("node %d is refused: %v", n.id, err)
	n.reads = n.said
	return true
}

// announces is what the node says of itself now.
func (n *node) announces() cluster.Member {
	m := member(n.id)
	m.Formats = n.reads
	n.said.Newest = max(n.said.Newest, n.reads.Newest)
	return m
}

// announce has a member say what it reads.
func (s *Sim) announce(n *node) error {
	leader := s.leader()
	if leader == nil || !n.up() || !s.isMember(leader, n) || leader.core.Members()[n.id].Formats == n.reads {
		return nil
	}
	return leader.guard(func(c *cluster.Core) {
		s.note("node %d reads formats up to %d: %v", n.id, n.reads.Newest, c.Move(n.announces(), nil))
	})
}

// format looks whether all members, as a node knows them, have said that they read what is written as it knows (C13).
func (s *Sim) format(n *node) error {
	format := n.core.Format()
	s.result.Format = max(s.result.Format, format)
	for id := range n.core.Members() {
		if said := s.nodes[id-1].said; format > said.Newest {
			return fmt.Errorf("C13: node %d writes format %d, and node %d has never said that it reads more than %d",
				n.id, format, id, said.Newest)
		}
	}
	return nil
}
