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

// Fate is what is known of what was given versions in the last epoch that has ended: what of it the log has, and that
// the log has all of it that it ever will. It is for one who applies the log; who asks besides sees to a lock. The zero
// value knows of no epoch.
//
// Why it is right: the entries of a term are proposed by the node that leads it, one epoch of it at most, and their
// versions rise. So of that epoch the log has, wherever it ends, a beginning; what of it is published is what is
// published of entries of that term. An entry of a later term has none of an earlier one behind it. So once one is
// about to be published, all that is published of the epoch is all that ever will be.
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
