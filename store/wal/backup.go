package wal

import (
	"context"
	"errors"
	"io"

	"kv/store/wal/backup"
	"kv/store/wal/feed"
	"kv/store/wal/record"
)

// Backup writes the state of the store at one instant: see backup.Take.
func (l *Log) Backup(ctx context.Context, w io.Writer) (version uint64, size int64, err error) {
	st := l.snap.source.Load()
	if st == nil {
		return 0, 0, errors.New("backup: no store is attached")
	}
	return backup.Take(ctx, &l.Limits, l, *st, w)
}

// Subscribe begins a subscription to what is written to the store that is attached: all of a later version than its
// From, which may be limit bytes behind. A record says what was appended: it may not have taken effect in the store
// yet, and before [Log.Wait] has returned for its version a crash may undo it. Whoever wants the state too walks the
// store after that, and takes of each key what is newer.
func (l *Log) Subscribe(limit int64) (*feed.Subscription, error) {
	st := l.snap.source.Load()
	if st == nil {
		return nil, errNoSource
	}
	l.mu.Lock()
	s := l.feed.Subscribe(l.last, limit)
	l.mu.Unlock()
	(*st).Barrier()
	return s, nil
}

var errNoSource = errors.New("no store is attached")

// Last is part of backup.Journal.
func (l *Log) Last(s *feed.Subscription) ([]feed.Record, record.Point, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	records, err := s.Last()
	return records, record.Point{Version: l.last}, err
}
