package sim

import (
	"fmt"
	"maps"
	"time"

	"kv/store/cluster"
)

// calmTime is how long a cluster has, all faults over, to be one again.
const calmTime = 60 * time.Second

// quiet has all faults end, and then looks whether a write succeeds, all replicas become equal, and all that was
// answered is there.
func (s *Sim) quiet() error {
	s.calm = true
	clear(s.net.cut)
	s.net.drop, s.net.double, s.net.delay = 0, 0, time.Millisecond
	for _, n := range s.nodes {
		n.paused, n.frozen, n.crashIn, n.failIn = false, 0, 0, 0
	}
	var last *request
	var by *cluster.Core // the process that was asked: another one of that node may have an epoch of the same number
	for end := s.now + calmTime; s.now < end; {
		for _, n := range s.nodes {
			if n.core == nil && !n.gone {
				if err := n.start(); err != nil {
					return err
				}
			}
		}
		if err := s.round(); err != nil {
			return err
		}
		if last != nil {
			if _, ok := s.ledger.acked[last.op]; ok {
				if s.settled() {
					return s.compare()
				}
				continue
			}
			if last.n.core == by && by.Proposals.Epoch() == last.epoch {
				continue
			}
		}
		for _, n := range s.nodes {
			if n.core != nil && n.core.Leads() {
				s.op++
				r := &request{n: n, op: s.op, epoch: n.core.Proposals.Epoch()}
				var err error
				if r.w, r.batch, err = n.m.propose(n.core.Proposals, r.op, 0); err == nil {
					s.batches[r.batch] = append(s.batches[r.batch], r.w)
					s.requests = append(s.requests, r)
					last, by = r, n.core
				}
				break
			}
		}
	}
	return fmt.Errorf("the faults are over for %v, and the cluster is not one again: %s", calmTime, s.describe())
}

// round lets a little time pass, and everything happen that does meanwhile.
func (s *Sim) round() error {
	if err := s.pass(5 * time.Millisecond); err != nil {
		return err
	}
	for range 2 * len(s.net.packets) {
		if err := s.deliver(); err != nil {
			return err
		}
	}
	for len(s.streams) > 0 {
		if err := s.endStream(); err != nil {
			return err
		}
	}
	for _, n := range s.nodes {
		for n.core != nil && len(n.appends) > 0 {
			if err := n.save(); err != nil {
				return err
			}
		}
		for n.core != nil && len(n.applies) > 0 {
			if err := n.apply(); err != nil {
				return err
			}
		}
		if n.core != nil && n.log.Wants() {
			if err := n.log.Fetch(); err != nil {
				return err
			}
		}
		if n.core != nil {
			if err := n.guard(func(*cluster.Core) {}); err != nil {
				return err
			}
		}
	}
	return s.poll()
}

// settled reports whether all replicas have published the same.
func (s *Sim) settled() bool {
	leader := s.leader()
	if leader == nil {
		return false
	}
	for _, n := range s.nodes {
		if !s.isMember(leader, n) {
			continue
		}
		if n.gone {
			if n.id == leader.id {
				return false
			}
			continue
		}
		if n.core == nil || n.m.index != leader.m.index || n.m.index < n.m.whole || n.m.index < s.ledger.floor {
			return false
		}
	}
	return true
}

// compare looks whether all replicas have the same, and all that was answered.
func (s *Sim) compare() error {
	leader := s.leader()
	first := leader.m
	for _, n := range s.nodes {
		if n.gone || !s.isMember(leader, n) {
			continue
		}
		if !maps.Equal(n.m.state, first.state) {
			return fmt.Errorf("C10: nodes %d and %d differ: %v and %v", leader.id, n.id, first.state, n.m.state)
		}
	}
	for op := range s.ledger.acked {
		if index, ok := s.ledger.ops[op]; !ok || index > first.index {
			return fmt.Errorf("C5: op %d was answered, and is lost", op)
		}
	}
	for key, h := range s.ledger.history {
		if len(h) > 0 && first.state[uint64(key)].version != h[len(h)-1].version {
			return fmt.Errorf("C10: key %d has version %d, and the log's last is %d",
				key, first.state[uint64(key)].version, h[len(h)-1].version)
		}
	}
	return nil
}

func (s *Sim) describe() (out string) {
	for _, n := range s.nodes {
		if n.core == nil {
			out += fmt.Sprintf("node %d is down; ", n.id)
			continue
		}
		last, _ := n.log.LastIndex()
		conf := n.core.Place().Conf
		out += fmt.Sprintf("node %d: term %d, leader %d, leads %v, published %d, whole from %d, log to %d, voters %v and %v, learners %v; ",
			n.id, n.core.Term(), n.core.Leader(), n.core.Leads(), n.m.index, n.m.whole, last,
			conf.GetVoters(), conf.GetVotersOutgoing(), conf.GetLearners())
	}
	return out
}
