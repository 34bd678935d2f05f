package cluster

import "context"

// over is what is known of an epoch when it has ended: all versions up to published that were given in it are published.
type over struct{ epoch, published uint64 }

// Kept is part of store.Replica.
func (j *Journal) Kept(epoch, version uint64) bool {
	kept := j.kept(epoch, version)
	if !kept {
		j.unknown.Add(1)
	}
	return kept
}

func (j *Journal) kept(epoch, version uint64) bool {
	p := j.node.Load().Proposals()
	if p.Epoch() == epoch {
		return true
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		switch {
		case p.Epoch() == epoch:
			return true
		case j.over.epoch >= epoch, p.Epoch() > epoch+1: // Append opens again behind Abandon alone
			return j.over.epoch == epoch && version <= j.over.published
		case j.ended:
			return false
		}
		j.changed.Wait() // what of that epoch is published is known soon
	}
}

// hold has writes wait, until release, and waits until all that are under way are answered, as long as ctx lets it: those that wait then
// have done nothing, and can be sent on to whoever leads next.
func (j *Journal) hold(ctx context.Context) {
	p := j.node.Load().Proposals()
	p.hold(true)
	p.mu.Lock()
	last := j.last
	p.mu.Unlock()
	defer context.AfterFunc(ctx, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.changed.Broadcast()
	})()
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.held.Store(true); ctx.Err() == nil && p.Epoch()%2 == 1 && (j.waiting.Load() > 0 || j.published.Load() < last); {
		j.changed.Wait()
	}
}

// release ends hold.
func (j *Journal) release() {
	j.node.Load().Proposals().hold(false)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held.Store(false)
	j.changed.Broadcast()
}

// waited is called by who has waited for what was written, for hold: who is the last before held is stored is seen by hold, and who is it
// later sees held.
func (j *Journal) waited() {
	if j.waiting.Add(-1) == 0 && j.held.Load() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.changed.Broadcast()
	}
}
