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
)

// Memory is the journal of a store that is not kept on disk. All that it does is to let backups be taken.
type Memory struct {
	source atomic.Pointer[Walker] // set by Attach
	last   atomic.Uint64          // the newest version; nothing is published with it

	// tapping says that appends must take mu. One that did not see it be set has published what it wrote before the
	// backup's walk begins: the walk waits for the locks under which it was appended.
	tapping atomic.Bool
	mu      sync.Mutex
	taps    taps // guarded by mu
}

// NewMemory returns a journal whose versions start from the clock.
func NewMemory() *Memory {
	m := &Memory{}
	m.last.Store(uint64(time.Now().UnixMicro()) - 1)
	return m
}

var _ store.Journal = (*Memory)(nil)

// Attach says whose state backups are taken of: of the store whose journal m is.
func (m *Memory) Attach(st Walker) { m.source.Store(&st) }

// Replay is part of store.Journal: there is nothing.
func (m *Memory) Replay(_, _ func([]*store.Entry)) (uint64, error) { return m.last.Load(), nil }

// Expect is part of store.Journal.
func (m *Memory) Expect() int64 { return 0 }

// Append is part of store.Journal.
func (m *Memory) Append(floor uint64, entries []*store.Entry) (uint64, error) {
	if !m.tapping.Load() {
		return m.next(floor), nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	version := m.next(floor)
	m.taps.add(version, entries)
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
	return backup(ctx, m, *st, w, m.Wait)
}

// LimitBackups is Log.LimitBackups.
func (m *Memory) LimitBackups(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taps.limit = bytes
}

func (m *Memory) beginTap(t *tap) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.taps.begin(t); err != nil {
		return err
	}
	m.tapping.Store(true)
	return nil
}

func (m *Memory) endTap(t *tap) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taps.end(t)
	m.tapping.Store(len(m.taps.all) > 0)
}

func (m *Memory) drain(t *tap, last bool) ([]write, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	version := m.last.Load() // before tapping ends: what is written after is not in the tap, and must be above
	if last {
		m.taps.end(t)
		m.tapping.Store(len(m.taps.all) > 0)
	}
	return t.take(version)
}
