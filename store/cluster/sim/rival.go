package sim

import "time"

// rivals reports whether leaders are struck such that another is elected while they go on: cut off from all others, or
// stopped, for as long as that may take; with clients that ask on both sides. One cluster in four is like that, so that
// what the other seeds have found stays what they find.
func (s *Sim) rivals() bool { return s.Seed%4 == 2 }

// strikeLeader has the leader reach no other node, and none reach it, or stops it. It returns false if there is none to strike.
func (s *Sim) strikeLeader() bool {
	leader := s.leader()
	if leader == nil || s.now < s.struck {
		return false
	}
	s.struck = s.now + time.Duration(500+s.rng.IntN(2500))*time.Millisecond
	s.result.Rivals++
	if s.rng.IntN(3) == 0 {
		leader.paused = true
		s.note("node %d, which leads, is stopped until %v", leader.id, s.struck)
		return true
	}
	for _, n := range s.nodes {
		if n != leader {
			s.net.cut[[2]uint64{leader.id, n.id}], s.net.cut[[2]uint64{n.id, leader.id}] = true, true
		}
	}
	s.note("node %d, which leads, is alone until %v", leader.id, s.struck)
	return true
}

// busy reports whether no more is asked of a node for now. With rivals each has its own measure: those who wait at one
// side are not to keep others from asking at the other.
func (s *Sim) busy(n *node) bool {
	if !s.rivals() {
		return len(s.requests) >= 12
	}
	waiting := 0
	for _, r := range s.requests {
		if r.n == n {
			waiting++
		}
	}
	return waiting >= 6
}
