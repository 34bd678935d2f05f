package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"kv/store"
	"kv/store/vfs"
	"kv/store/wal/folder"
)

const (
	// maxProposed is how many bytes of proposals may be under way before Admit waits.
	maxProposed = 64 << 20
	// snapshotAfter is how many bytes entries that are applied take in memory, at most, before a snapshot is written,
	// and log given up, again: a start has those behind the snapshot in memory. snapshotLeast is how many there are at
	// least where there is little memory.
	snapshotAfter = 256 << 20
	snapshotLeast = 8 << 20
	// leastLog and mostLog bound how much of the log stays behind that.
	leastLog = 64 << 20
	mostLog  = 4 << 30
)

// JournalOptions say where a replica keeps what it has.
type JournalOptions struct {
	FS     vfs.FS
	Dir    string // it is there, and locked
	Logger *slog.Logger
	// RetainLog is how many bytes of the log stay behind a snapshot, for nodes that are away; 0: as many as the
	// snapshot takes, within bounds.
	RetainLog int64
	// Memory is how many bytes the store may take; 0: any. The less that is, the sooner a snapshot is written.
	Memory  int64
	Formats Formats    // as in CoreOptions
	Log     LogOptions // what is for tests, and Synced; the rest is as here
}

// Journal makes a store one of several alike: it is the store's journal, a store.Replica, and what the log is applied to. It is
// opened first, then the store with it, and then it is started.
type Journal struct {
	o   JournalOptions
	log *FileLog
	at  snapshotMeta // what the file has that Replay loads

	store *store.Store         // since Start
	node  atomic.Pointer[Node] // likewise; the store asks before that, too

	published atomic.Uint64 // the highest version that was applied; stored when its write is in the store
	applying  atomic.Uint64 // the entry that is being applied, or was last: the store may have parts of it
	installed atomic.Uint64 // the entry of the last snapshot that was put in the place of the store's state; stored before that begins
	history   []historyFrom // as of the snapshot that was loaded, and since; guarded by entry
	applied   int64         // what entries take that were applied since the snapshot; the state machine's goroutine's
	records   records       // of the entry that is being applied; likewise
	saving    sync.Mutex    // held while a snapshot is written, or its file is to stay
	backups

	refused, unknown, snapshotsFailed atomic.Uint64 // counts, publish nothing: see Counts and LogCounts
	newest                            snapshotFigures

	mu      sync.Mutex // guards what follows up to ended
	changed *sync.Cond // published, lost or ended, or writes need not wait for held any more
	epoch   uint64     // in which last was given; with the lock of Proposals
	last    uint64     // the last version that was given; with the lock of Proposals
	lost    uint64     // up to here, nobody waits any more for what was given and is not published
	fate    Fate       // of what was given in the last epoch that has ended
	ended   bool

	waiting atomic.Int64 // how many wait for what they have written, or seen
	held    atomic.Bool  // writes wait, since leadership is handed over; stored with mu held
}

// ledWithin is how long a write waits for a node to lead, before it is told that none does.
const ledWithin = 2 * time.Second

var (
	_ store.Replica = (*Journal)(nil)
	_ StateMachine  = (*Journal)(nil)
)

// OpenJournal opens what a folder has; with nothing in it, it is a new node.
func OpenJournal(o JournalOptions) (*Journal, error) {
	j := &Journal{o: o, at: snapshotMeta{base: Base{}}, history: make([]historyFrom, 1)}
	j.newest.since = time.Now()
	j.changed = sync.NewCond(&j.mu)
	j.follow()
	d, err := folder.Read(o.FS, o.Dir)
	if err != nil {
		return nil, err
	}
	lo := o.Log
	lo.FS, lo.Dir, lo.Logger = o.FS, o.Dir, o.Logger
	if lo.SegmentSize == 0 && o.RetainLog > 0 { // a file is given up as a whole
		lo.SegmentSize = min(max(o.RetainLog, 1<<20), segmentSize)
	}
	if len(d.Logs) == 0 && len(d.Snapshots) == 0 {
		j.log, err = NewLog(lo, Self{Node: folder.NewMemberID()})
		return j, err
	}
	if n := len(d.Snapshots); n > 0 {
		if j.at, err = readSnapshotFile(o.FS, o.Dir, d.Snapshots[n-1], justRead); err != nil {
			return nil, lost(err)
		}
		if err := o.Formats.or(built).check(max(j.at.base.Format, 1)); err != nil {
			return nil, fmt.Errorf("data folder %s: %w", o.Dir, err)
		}
		lo.Base, lo.Owner = j.at.base, j.at.owner()
		j.newest.bytes.Store(j.at.size)
		j.history[0] = historyFrom{j.at.base.Index, j.at.depth, j.at.age}
	}
	if j.log, err = OpenLog(lo); err != nil {
		return nil, err
	}
	if self := j.log.Self(); j.at.base.Index == 0 {
		if own := self.Founders[self.Node].Settings; own.Said { // all founders have said the same
			j.history[0] = historyFrom{j.log.Base().Index, own.History, own.HistoryAge}
		}
	}
	return j, nil
}

// Log returns the log: whose it is, and where it begins.
func (j *Journal) Log() *FileLog { return j.log }

// Start begins to run as a replica with the store that was opened with j, once the log belongs to a cluster.
func (j *Journal) Start(st *store.Store, o CoreOptions, t Transport) (*Node, error) {
	j.store = st
	o.Base, o.Whole = j.log.Base(), j.at.whole
	j.applying.Store(o.Base.Index)
	j.entry.Lock()
	j.placed, j.whole = entryID{o.Base.Index, o.Base.Term}, o.Whole
	j.entry.Unlock()
	n, err := Start(NodeOptions{CoreOptions: o, Log: j.log, Machine: j, Transport: t})
	if err != nil {
		return nil, err
	}
	j.node.Store(n)
	go func() {
		<-n.Done()
		j.mu.Lock()
		j.ended = true
		j.changed.Broadcast()
		j.mu.Unlock()
	}()
	return n, nil
}

// Close closes the log, once no snapshot is being written. The node has ended.
func (j *Journal) Close() error {
	j.saving.Lock()
	defer j.saving.Unlock()
	return j.log.Close()
}

// Expect is part of store.Journal.
func (j *Journal) Expect() int64 { return 0 }

// Replay is part of store.Journal: the snapshot. What the log has besides comes by Apply, as it does from others.
func (j *Journal) Replay(load, apply func([]*store.Entry)) (uint64, error) {
	if j.at.base.Index == 0 {
		return 0, nil
	}
	m, err := loadSnapshot(j.o.FS, j.o.Dir, j.at.base.Index, load, apply)
	if err != nil {
		return 0, fmt.Errorf("load the snapshot: %w", err)
	}
	if m.time != 0 {
		apply([]*store.Entry{store.NewTime(m.version, m.time)})
	}
	j.published.Store(m.version)
	return m.version, nil
}

// Append is part of store.Journal.
func (j *Journal) Append(floor uint64, entries []*store.Entry) (version uint64, err error) {
	n := j.node.Load()
	if n == nil {
		return 0, &store.MovedError{}
	}
	p := n.Proposals()
	_, err = p.Append(func(payload []byte) ([]byte, uint64) {
		if e := p.Epoch(); e != j.epoch { // all that was given before is published, or lost for this node
			// From the clock, in microseconds, as in a store that is alone: so that what nodes that are lost have given
			// is not given again (Recover).
			j.epoch, j.last = e, max(j.last, j.published.Load(), uint64(time.Now().UnixMicro()))
		}
		j.last = max(j.last, floor) + 1
		version = j.last
		return appendRecord(payload, version, entries), version
	})
	if err != nil { // it begins again, with Admit
		return 0, &store.NotAdmittedError{}
	}
	return version, nil
}

// moved is the error of a write here.
func (n *Node) moved() error {
	s := n.Status()
	if s.Leader == s.ID { // it does not take writes yet, or no more
		s.Address = ""
	}
	return &store.MovedError{Leader: s.Address}
}

// Admit is part of store.Journal.
func (j *Journal) Admit(int64) error {
	n := j.node.Load()
	if n == nil {
		return &store.MovedError{}
	}
	p := n.Proposals()
	full := func() bool { return p.Epoch()%2 == 1 && (j.held.Load() || p.Backlog() >= maxProposed) }
	if full() {
		j.mu.Lock()
		for full() {
			j.changed.Wait()
		}
		j.mu.Unlock()
	}
	if p.Epoch()%2 == 1 {
		return nil
	}
	j.refused.Add(1)
	return n.elsewhere()
}

// elsewhere waits until it is known who leads, as long as a write does, and returns the error of one that is to go
// there. It may be this node by now: who writes has noted the epoch, and so is to begin anew there too.
func (n *Node) elsewhere() error {
	ctx, cancel := context.WithTimeout(context.Background(), ledWithin)
	defer cancel()
	n.Led(ctx)
	s := n.Status()
	if s.Removed && s.Address == "" {
		return errRemoved
	}
	return &store.MovedError{Leader: s.Address}
}

// errRemoved is the error of what is asked of a node that is no member any more. As others that are to go elsewhere, it
// matches store.ErrReadOnly and store.ErrNoMajority.
var errRemoved = removedError{}

type removedError struct{}

func (removedError) Error() string {
	return "this node was removed from its cluster: nothing was applied, ask another"
}

func (removedError) Is(target error) bool {
	return target == store.ErrReadOnly || target == store.ErrNoMajority
}

// Durable is part of store.Journal: what is published is on the disks of a majority.
func (j *Journal) Durable() uint64 { return j.published.Load() }

// Wait is part of store.Journal. It waits for the batch that has the version, so that who waits for another one sleeps on.
func (j *Journal) Wait(version uint64) error {
	j.waiting.Add(1)
	defer j.waited()
	if n := j.node.Load(); n != nil {
		if b := n.Proposals().Marked(version); b != nil {
			select {
			case <-b.Done():
			case <-n.Done():
			}
		}
	}
	if j.published.Load() >= version {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		switch {
		case j.published.Load() >= version:
			return nil
		case version <= j.lost || j.ended:
			return store.ErrUnknown
		}
		j.changed.Wait()
	}
}

// Epoch is part of store.Replica.
func (j *Journal) Epoch() uint64 {
	n := j.node.Load()
	if n == nil {
		return 0
	}
	return n.Proposals().Epoch()
}

// Begin is part of store.Replica.
func (j *Journal) Begin(mode store.ReadMode) error {
	n := j.node.Load()
	if n == nil {
		return store.ErrNoMajority
	}
	if n.Status().Removed { // nobody answers it
		return errRemoved
	}
	reads := n.Reads()
	if mode.Bound > 0 {
		return j.beginBounded(reads, mode.Bound)
	}
	for {
		round := reads.Join()
		<-round.Done()
		if round.Err() != nil {
			return store.ErrNoMajority
		}
		if _, whole := reads.State(); whole {
			return nil
		}
	}
}

// beginBounded waits for a round as long as the bound allows it, where this node is not new enough without.
func (j *Journal) beginBounded(reads *Reads, bound time.Duration) error {
	if reads.Fresh(bound) {
		return nil
	}
	timeout := time.NewTimer(bound)
	defer timeout.Stop()
	select {
	case <-reads.Join().Done():
	case <-timeout.C:
	}
	if reads.Fresh(bound) {
		return nil
	}
	return store.ErrStale
}

// Confirm is part of store.Replica.
func (j *Journal) Confirm() error {
	j.waiting.Add(1)
	defer j.waited()
	round := j.node.Load().Reads().Join()
	<-round.Done()
	if round.Err() != nil {
		j.unknown.Add(1)
		return store.ErrUnknown
	}
	return nil
}
