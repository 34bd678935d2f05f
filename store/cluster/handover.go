package cluster

import (
	"context"
	"time"

	"kv/store"
)

// fateWithin is how long a write that was under way when its epoch ended waits for what has become of it.
const fateWithin = 3 * time.Second

// Outcome is part of store.Replica.
func (j *Journal) Outcome(epoch, first, last uint64) error {
	n := j.node.Load()
	p := n.Proposals()
	if p.Epoch() == epoch {
		return nil
	}
	outcome := func() Outcome {
		j.mu.Lock()
		defer j.mu.Unlock()
		for {
			if p.Epoch() == epoch {
				return Applied
			}
			if o := j.fate.Of(epoch, first, last); o != Pending {
				return o
			}
			if j.ended {
				return Unknown
			}
			j.changed.Wait()
		}
	}()
	switch outcome {
	case Applied:
		return nil
	case NotApplied:
		j.refused.Add(1)
		return n.elsewhere()
	}
	j.unknown.Add(1)
	return store.ErrUnknown
}

// seal says that no more will be known of what was given in the last epoch that has ended. j.mu is held.
func (j *Journal) seal() {
	j.fate.Seal()
	j.lost = max(j.lost, j.last)
	j.changed.Broadcast()
}

// before decides what has become of what this node had proposed, when an entry of a later term comes.
func (j *Journal) before(term uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fate.Before(term) {
		j.seal()
	}
}

// hold has writes wait, until release, and waits until all that are under way are answered, as long as ctx lets it:
// those that wait then have done nothing, and can be sent on to whoever leads next.
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

// waited ends the wait of one writer, and wakes hold after the last one. A writer that is counted off before hold stores
// held is not found waiting by hold; a later one sees held.
func (j *Journal) waited() {
	if j.waiting.Add(-1) == 0 && j.held.Load() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.changed.Broadcast()
	}
}
