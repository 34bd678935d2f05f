package cluster

import (
	"context"
	"fmt"
	"io"
	"sync"

	"kv/store"
	"kv/store/wal/backup"
	"kv/store/wal/feed"
	"kv/store/wal/record"
)

// backups are what backups of a node's state need: whoever holds entry sees it between two entries of the log.
type backups struct {
	backup.Limits

	entry  sync.Mutex // held while an entry is applied
	feed   *feed.Feed // what is applied; guarded by entry
	placed entryID    // the last that was; likewise
	whole  uint64     // the entry from which on the store has a state that is one; likewise
}

func (b *backups) follow() { b.feed = feed.New(&b.entry) }

// errNotWhole is why no backup can be taken yet.
var errNotWhole = fmt.Errorf("%w: this node has no whole state yet: try again soon, or at another", store.ErrReadOnly)

// Backup writes the state of this node as it is behind one entry of the log, whether it leads or not: see backup.Take.
// It is a state that all nodes have had, and may be older than what the leader has answered since.
func (j *Journal) Backup(ctx context.Context, w io.Writer) (version uint64, size int64, err error) {
	n := j.node.Load()
	if n == nil || !n.Status().Whole || n.Status().Published == 0 {
		return 0, 0, errNotWhole
	}
	return backup.Take(ctx, &j.Limits, j, j.store, w)
}

// Subscribe is part of backup.Journal. All that was applied before is in the store.
func (j *Journal) Subscribe(limit int64) (*feed.Subscription, error) {
	j.entry.Lock()
	defer j.entry.Unlock()
	if j.placed.index < j.whole {
		return nil, errNotWhole
	}
	return j.feed.Subscribe(j.published.Load(), limit), nil
}

// Last is part of backup.Journal.
func (j *Journal) Last(s *feed.Subscription) ([]feed.Record, record.Point, error) {
	j.entry.Lock()
	defer j.entry.Unlock()
	all, err := s.Last()
	return all, record.Point{Version: j.published.Load(), Index: j.placed.index, Term: j.placed.term, Time: j.store.Time()}, err
}
