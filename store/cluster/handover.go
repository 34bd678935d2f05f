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
	for j.held = true; ctx.Err() == nil && p.Epoch()%2 == 1 && (j.waiting > 0 || j.published.Load() < last); {
		j.changed.Wait()
	}
}

// release ends hold.
func (j *Journal) release() {
	j.node.Load().Proposals().hold(false)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held = false
	j.changed.Broadcast()
}

// waits counts who waits for what was written, for hold; j.mu is held.
func (j *Journal) waits(n int) {
	if j.waiting += n; j.waiting == 0 && j.held {
		j.changed.Broadcast()
	}
}
