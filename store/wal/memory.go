package wal

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"kv/store"
	"kv/store/wal/backup"
	"kv/store/wal/feed"
	"kv/store/wal/record"
)

// Memory is the journal of a store that is not kept on disk. All that it does is to let backups be taken.
type Memory struct {
	source atomic.Pointer[backup.Walker] // set by Attach
	_      [56]byte                      // every write looks at what is around last
	last   atomic.Uint64                 // the newest version; nothing is published with it
	_      [56]byte

	// followed says that appends must take mu, and add to the feed. One that did not see it be set has published what
	// it wrote before Subscribe returns: that waits for the locks under which it was appended.
	followed atomic.Bool
	mu       sync.Mutex
	feed     *feed.Feed // guarded by mu
	coming   int        // how many Subscribe is about to add; guarded by mu
	backup.Limits
}

// NewMemory returns a journal whose versions start from the clock.
func NewMemory() *Memory {
	m := &Memory{}
	m.feed = feed.New(&m.mu)
	m.last.Store(uint64(time.Now().UnixMicro()) - 1)
	return m
}

var _ store.Journal = (*Memory)(nil)

// Attach says whose state backups are taken of: of the store whose journal m is.
func (m *Memory) Attach(st backup.Walker) { m.source.Store(&st) }

// Replay is part of store.Journal: there is nothing.
func (m *Memory) Replay(_, _ func([]*store.Entry)) (uint64, error) { return m.last.Load(), nil }

// Expect is part of store.Journal.
func (m *Memory) Expect() int64 { return 0 }

// Append is part of store.Journal.
func (m *Memory) Append(floor uint64, entries []*store.Entry) (uint64, error) {
	if !m.followed.Load() {
		return m.next(floor), nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	version := m.next(floor)
	m.feed.Add(version, entries)
	if m.coming == 0 && !m.feed.Followed() {
		m.followed.Store(false)
	}
	return version, nil
}

func (m *Memory) next(floor uint64) uint64 {
	for {
		last := m.last.Load()
		version := max(last, floor) + 1
		if m.last.CompareAndSwap(last, version) {
			return version
		}
	}
}

// Admit is part of store.Journal.
func (m *Memory) Admit(int64) error { return nil }

// Durable is part of store.Journal.
func (m *Memory) Durable() uint64 { return math.MaxUint64 }

// Wait is part of store.Journal.
func (m *Memory) Wait(uint64) error { return nil }

// Backup is Log.Backup.
func (m *Memory) Backup(ctx context.Context, w io.Writer) (version uint64, size int64, err error) {
	st := m.source.Load()
	if st == nil {
		return 0, 0, errors.New("backup: no store is attached")
	}
	return backup.Take(ctx, &m.Limits, m, *st, w)
}

// Subscribe is Log.Subscribe.
func (m *Memory) Subscribe(limit int64) (*feed.Subscription, error) {
	st := m.source.Load()
	if st == nil {
		return nil, errNoSource
	}
	m.mu.Lock()
	m.coming++
	m.followed.Store(true)
	m.mu.Unlock()
	(*st).Barrier()
	m.mu.Lock()
	m.coming--
	s := m.feed.Subscribe(m.last.Load(), limit)
	m.mu.Unlock()
	(*st).Barrier() // again, for those that have taken mu
	return s, nil
}

// Last is part of backup.Journal.
func (m *Memory) Last(s *feed.Subscription) ([]feed.Record, record.Point, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	version := m.last.Load() // before the feed is left: what is written after is not in it, and is above
	records, err := s.Last()
	return records, record.Point{Version: version}, err
}
