package sim

import (
	"slices"

	"kv/store/cluster"
)

// maxNodes is how many there are at most, in all.
const maxNodes = 9

// leader returns a node that leads and takes writes, nil: there is none.
func (s *Sim) leader() *node {
	for _, n := range s.nodes {
		if n.up() && n.core.Leads() {
			return n
		}
	}
	return nil
}

// join has a new node join, in the place of another, or beside them.
func (s *Sim) join() error {
	leader := s.leader()
	if leader == nil || len(s.nodes) >= maxNodes {
		return nil
	}
	n := &node{sim: s, id: uint64(len(s.nodes) + 1), reads: onlyFirst, said: onlyFirst}
	s.nodes = append(s.nodes, n)
	if err := n.found(n.id, nil); err != nil {
		return err
	}
	if err := n.start(); err != nil {
		return err
	}
	m := n.announces()
	other := s.nodes[s.rng.IntN(len(s.nodes)-1)]
	if s.rng.IntN(2) == 0 && !other.gone {
		m.Replaces = other.id
	}
	return leader.guard(func(c *cluster.Core) {
		err := c.AddLearner(m)
		s.note("node %d is to join, in the place of %d: %v", n.id, m.Replaces, err)
		if n.gone = err != nil; n.gone {
			n.die()
			return
		}
		s.result.Joined++
		if m.Replaces != 0 && other != leader && s.rng.IntN(2) == 0 && s.canLose(leader, other) {
			s.note("node %d has lost its disk, and so its self", other.id)
			other.gone = true
			if other.core != nil {
				other.die()
			}
		}
	})
}

// canLose reports whether a majority of the voters is left when a node is lost for good, or removed. A learner may be about to
// become a voter.
func (s *Sim) canLose(leader, n *node) bool {
	left, voters := 0, leader.core.Place().Conf.GetVoters()
	if slices.Contains(leader.core.Place().Conf.GetLearners(), n.id) {
		return false
	}
	for _, id := range voters {
		if other := s.nodes[id-1]; other != n && !other.gone {
			left++
		}
	}
	return left > len(voters)/2
}

// remove has a member be none any more. It may go on, not knowing.
func (s *Sim) remove() error {
	leader := s.leader()
	if leader == nil {
		return nil
	}
	id := uint64(1 + s.rng.IntN(len(s.nodes)))
	if !s.canLose(leader, s.nodes[id-1]) {
		return nil
	}
	return leader.guard(func(c *cluster.Core) {
		err := c.Remove(id)
		if err == nil {
			s.result.Removed++
		}
		s.note("node %d is to be removed: %v", id, err)
	})
}

// isMember reports whether a node is a member, as a leader knows it.
func (s *Sim) isMember(leader, n *node) bool {
	_, ok := leader.core.Members()[n.id]
	return ok
}

// wasRemoved reports whether a member says that a node was one, and is no more: whoever is told so may destroy it.
func (s *Sim) wasRemoved(n *node) bool {
	leader := s.leader()
	return leader != nil && n.belonged && s.isMember(leader, leader) && !s.isMember(leader, n)
}
