package cluster

import (
	"errors"
	"fmt"
	"io"
	"time"

	"kv/store"
	"kv/store/vfs"
	"kv/store/wal/folder"
)

// Apply is part of StateMachine.
func (j *Journal) Apply(e *Committed) error {
	j.entry.Lock()
	defer j.entry.Unlock()
	j.before(e.Term)
	j.applying.Store(e.Index)
	if err := j.applyAll(e.Index, e.Payload); err != nil {
		return err
	}
	j.placed = entryID{e.Index, e.Term}
	j.mu.Lock()
	j.fate.Published(e.Term, j.published.Load())
	j.changed.Broadcast()
	j.mu.Unlock()
	if j.applied += int64(len(e.Payload)) + entryMemory; j.applied >= j.snapshotAfter() && j.saving.TryLock() {
		j.applied = 0
		go func() { // Close waits for saving
			defer j.saving.Unlock()
			if err := j.saveSnapshot(); err != nil && !errors.Is(err, ErrStopped) {
				j.o.Logger.Warn("a snapshot could not be written, and the log grows", "error", err)
			}
		}()
	}
	return nil
}

// applyAll applies the records of an entry's payload.
func (j *Journal) applyAll(index uint64, payload []byte) error {
	r := &j.records
	defer r.clear()
	if err := r.parse(payload); err != nil {
		return err
	}
	warm, at := 0, 0
	for i, version := range r.versions {
		entries := r.entries[at:r.ends[i]]
		if at = r.ends[i]; at > warm {
			warm = min(at+store.WarmAtOnce, len(r.entries))
			j.store.ApplySoon(r.entries[at-len(entries) : warm])
		}
		j.feed.Add(version, entries)
		if err := j.store.Apply(version, entries); err != nil {
			return err
		}
		if len(entries) > 0 {
			j.noteHistory(index, entries[0])
		}
		if version > j.published.Load() {
			j.published.Store(version)
		}
	}
	return nil
}

// Abandon is part of StateMachine.
func (j *Journal) Abandon(term uint64) {
	j.store.Abandon()
	j.mu.Lock()
	defer j.mu.Unlock()
	// Append is closed, and opens only behind this: nobody changes epoch or last. And nothing of another node's has
	// been applied since.
	if epoch := j.epoch; j.fate.End(epoch, term, j.published.Load()) {
		time.AfterFunc(fateWithin, func() {
			j.mu.Lock()
			defer j.mu.Unlock()
			if j.fate.epoch == epoch && !j.fate.sealed {
				j.seal()
			}
		})
	}
	j.changed.Broadcast()
}

// SaveSnapshot writes a snapshot of the state, durably, and gives up the log that it covers.
func (j *Journal) SaveSnapshot() error {
	j.saving.Lock()
	defer j.saving.Unlock()
	return j.saveSnapshot()
}

func (j *Journal) saveSnapshot() (err error) {
	defer func() {
		if err == nil {
			j.newest.failing.Store(false)
		} else if !errors.Is(err, ErrStopped) {
			j.newest.failing.Store(true)
			j.snapshotsFailed.Add(1)
		}
	}()
	var base Base
	var lacked uint64
	whole := false
	n := j.node.Load()
	if n == nil {
		return nil // it begins just now
	}
	if !n.call(func(c *Core) { base, whole, lacked = c.Place(), c.Whole(), c.Lacked() }) {
		return ErrStopped
	}
	if !whole || base.Index <= j.log.Base().Index {
		return nil
	}
	size, err := createSnapshot(j.o.FS, j.o.Dir, base.Index,
		func(w io.Writer) error { return j.Walk(base, runningWriter{w, n}) }, nil)
	if err != nil {
		return err
	}
	j.newest.note(size)
	j.log.Snapshotted(base)
	return j.log.Compact(base.Index, j.retainLog(size), lacked)
}

// runningWriter fails once its node is to stop, which does not wait until all of a snapshot is written.
type runningWriter struct {
	io.Writer
	n *Node
}

func (r runningWriter) Write(b []byte) (int, error) {
	select {
	case <-r.n.stop:
		return 0, ErrStopped
	default:
		return r.Writer.Write(b)
	}
}

// snapshotAfter is what entries may take before a snapshot is written again: a quarter of the store's memory, within bounds.
func (j *Journal) snapshotAfter() int64 {
	if j.o.Memory > 0 {
		return min(max(j.o.Memory/4, snapshotLeast), snapshotAfter)
	}
	return snapshotAfter
}

// retainLog is how many bytes of the log stay behind a snapshot of so many bytes: to read a log is no quicker than to
// read a snapshot of its size. The log's files are read at a start, and fill the disk: so there is a most.
func (j *Journal) retainLog(size int64) int64 {
	if j.o.RetainLog > 0 {
		return j.o.RetainLog
	}
	return min(max(size, leastLog), mostLog)
}

// errInstalled is the error of a walk of what is there no more.
var errInstalled = fmt.Errorf("%w: another node's state has taken the place of what was to be written: try again", store.ErrReadOnly)

// Walk is part of StateMachine.
func (j *Journal) Walk(base Base, w io.Writer) error {
	history := j.historyAt(base.Index)
	return writeSnapshot(w, j.log.Self().Cluster, snapshotMeta{base: base, depth: history.depth, age: history.age}, j.store, func() (whole, version uint64, err error) {
		if j.installed.Load() > base.Index {
			err = errInstalled
		}
		return j.applying.Load(), j.published.Load(), err
	})
}

// Receive is part of StateMachine.
func (j *Journal) Receive(base Base, r io.Reader) error {
	j.saving.Lock()
	defer j.saving.Unlock()
	if base.Index <= j.log.Base().Index { // this node has come further by itself
		_, err := io.Copy(io.Discard, r)
		return err
	}
	size, err := createSnapshot(j.o.FS, j.o.Dir, base.Index,
		func(w io.Writer) error {
			_, err := io.Copy(w, r)
			return err
		},
		func(f vfs.File) error {
			_, err := readSnapshot(f, base.Index, justRead)
			return err
		})
	if err == nil {
		j.newest.note(size)
	}
	return err
}

// readsEnd is how long reads that have begun are given to end before the state is replaced under them. It is only that
// clients see less of that: what goes on longer is void, and said to be.
const readsEnd = 20 * time.Millisecond

// Install is part of StateMachine: the store goes on with the snapshot that was received, or with a newer one that was
// since. Reads wait meanwhile, as the Core has said (Swap); those that have begun before, and do not end in time, are
// not answered.
func (j *Journal) Install(base Base) (whole uint64, err error) {
	began := time.Now()
	j.installed.Store(base.Index) // what is being written of the old state is void
	select {
	case <-time.After(readsEnd):
	case <-j.node.Load().stop:
	}
	j.saving.Lock() // the file stays meanwhile
	defer j.saving.Unlock()
	j.entry.Lock() // no backup begins, or ends
	defer j.entry.Unlock()
	j.mu.Lock()
	j.seal() // which of the entries that are skipped were this node's is not known
	j.mu.Unlock()
	j.feed.Break(errInstalled)
	d, err := folder.Read(j.o.FS, j.o.Dir)
	if err != nil {
		return 0, err
	}
	if len(d.Snapshots) == 0 || d.Snapshots[len(d.Snapshots)-1] < base.Index {
		return 0, fmt.Errorf("the snapshot of entry %d was received, and is not in %s", base.Index, j.o.Dir)
	}
	var m snapshotMeta
	if err := j.store.Install(func(load func([]*store.Entry)) error {
		m, err = loadSnapshot(j.o.FS, j.o.Dir, d.Snapshots[len(d.Snapshots)-1], load, load) // nobody sends tails
		if err == nil && m.time != 0 {
			load([]*store.Entry{store.NewTime(m.version, m.time)})
		}
		return err
	}); err != nil {
		return 0, err
	}
	if j.history = []historyFrom{{m.base.Index, m.depth, m.age}}; m.depth > 0 {
		for _, e := range []*store.Entry{store.NewDepth(1, m.depth), store.NewAge(1, m.age)} {
			if err := j.store.Apply(1, []*store.Entry{e}); err != nil {
				return 0, err
			}
		}
	}
	j.applying.Store(base.Index)
	j.placed, j.whole = entryID{base.Index, base.Term}, m.whole
	if m.version > j.published.Load() {
		j.published.Store(m.version)
	}
	j.mu.Lock()
	j.changed.Broadcast()
	j.mu.Unlock()
	j.o.Logger.Info("this node has taken another's state in the place of its own", "index", base.Index, "took", time.Since(began))
	return m.whole, nil
}
