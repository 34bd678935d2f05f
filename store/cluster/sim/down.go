package sim

import "kv/store/cluster"

// hints reports whether the nodes of this seed notice that another node's process has ended, and now and then take a
// living one for ended. One cluster in five has hints, so that the other seeds go on finding what they have found.
func (s *Sim) hints() bool { return s.Seed%5 == 4 }

// ended notes that a node's process has ended, for the nodes that notice.
func (s *Sim) ended(n *node) {
	if s.hints() {
		s.down = append(s.down, n.id)
	}
}

// notice has some nodes notice which processes have ended, and one in a while one that has not.
func (s *Sim) notice() error {
	down := s.down
	s.down = nil
	if s.hints() && s.rng.IntN(400) == 0 {
		down = append(down, s.nodes[s.rng.IntN(len(s.nodes))].id)
	}
	for _, id := range down {
		for _, n := range s.nodes {
			if n.id == id || !n.up() || s.rng.IntN(3) == 0 {
				continue
			}
			s.note("node %d notices that %d does not run", n.id, id)
			if err := n.guard(func(c *cluster.Core) { c.Down(id) }); err != nil {
				return err
			}
			s.result.Hints++
		}
	}
	return nil
}

// askAtOnce has clients ask a node right after a pause, before it has heard what happened meanwhile: it may think that it
// still leads. That is done with hints, and with rivals.
func (s *Sim) askAtOnce(n *node) error {
	for range 3 {
		if !s.hints() && !s.rivals() || !n.up() {
			break
		}
		if err := s.ask(n); err != nil {
			return err
		}
	}
	return nil
}
