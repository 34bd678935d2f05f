package cluster

// Outcome is how the writes of an epoch that is over have ended.
type Outcome uint8

const (
	// Pending: that will be known.
	Pending Outcome = iota
	// Applied: all of them are published.
	Applied
	// NotApplied: none of them is, or ever will be, on any node.
	NotApplied
	// Unknown: that will not be known here.
	Unknown
)

// Fate is what is known of the writes that were given versions in the last epoch that has ended: which of them the log
// has, and whether the log has all of them that it ever will. The goroutine that applies the log keeps it; others who
// ask need a lock. The zero value knows of no epoch.
//
// Why it is right: the entries of a term are proposed by the node that leads in it, for one epoch at most, and their
// versions rise. So the log has, wherever it ends, a beginning of the epoch's writes, and those that are published are
// the published entries of that term. No entry of an earlier term follows one of a later term. So once an entry of a
// later term is about to be published, all writes of the epoch that ever will be published are.
type Fate struct {
	epoch, term uint64
	published   uint64 // of what was given in the epoch, all up to here is published
	sealed      bool   // no more will be known
	decided     bool   // and what is above published never will be
}

// End says that an epoch has ended, of a term, in which versions were given: those up to published are published, and
// no entry of a later term is. It returns false if it is known already.
func (f *Fate) End(epoch, term, published uint64) bool {
	if epoch <= f.epoch {
		return false
	}
	*f = Fate{epoch: epoch, term: term, published: published}
	return true
}

// Before says that an entry of a term is about to be published. It returns true if that decides what has become of the epoch.
func (f *Fate) Before(term uint64) (decided bool) {
	if f.epoch == 0 || f.sealed || term <= f.term {
		return false
	}
	f.sealed, f.decided = true, true
	return true
}

// Published says that an entry of a term is published, up to this version.
func (f *Fate) Published(term, version uint64) {
	if !f.sealed && term == f.term {
		f.published = max(f.published, version)
	}
}

// Seal says that no more will be known: the log is not followed from entry to entry any more, or nobody waits longer.
func (f *Fate) Seal() { f.sealed = true }

// Of returns what has become of writes of an epoch that is over, of which the first and the last got these versions.
func (f *Fate) Of(epoch, first, last uint64) Outcome {
	switch {
	case f.epoch < epoch:
		return Pending
	case f.epoch > epoch:
		return Unknown
	case last <= f.published:
		return Applied
	case !f.sealed:
		return Pending
	case f.decided && first > f.published:
		return NotApplied
	}
	return Unknown
}
