package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"kv/store"
	"kv/store/wal/backup"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/record"
)

// syncEvery is how much of a snapshot is written between two syncs, so that the log's syncs need not wait for all of it.
const syncEvery = 16 << 20

// snapshots is what a Log knows of its snapshots.
type snapshots struct {
	due    chan struct{}                 // of capacity 1: one should be taken
	source atomic.Pointer[backup.Walker] // nil: Attach was not called
	least  atomic.Int64                  // how many bytes of logs make one due; set by the flusher
	looked int64                         // how many there were when least was set; the flusher's own
	mu     sync.Mutex                    // held while one is taken

	ctx    context.Context // ended by Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (s *snapshots) init(o Options) {
	s.least.Store(o.SnapshotBytes)
	s.due = make(chan struct{}, 1)
	s.ctx, s.cancel = context.WithCancel(context.Background())
}

// stop ends a snapshot that runs, and waits for that.
func (s *snapshots) stop() {
	s.cancel()
	s.wg.Wait()
	s.mu.Lock() // waits for one that was asked for
	defer s.mu.Unlock()
	s.source.Store(nil)
}

// consider asks for a snapshot if the logs have grown enough. Called by the flusher.
func (s *snapshots) consider(l *Log) {
	if now := l.stat.sinceSnapshot(); now < s.looked || now-s.looked >= lookBytes {
		s.looked = now
		s.least.Store(l.leastForSnapshot())
	}
	if !s.isDue(l) {
		return
	}
	select {
	case s.due <- struct{}{}:
	default:
	}
}

func (s *snapshots) isDue(l *Log) bool {
	return l.o.SnapshotBytes >= 0 && l.stat.sinceSnapshot() >= max(s.least.Load(), l.stat.snapshot.Load())
}

// lookBytes is how much the logs grow between two looks at the room on the disk.
const lookBytes = 1 << 20

// leastForSnapshot returns SnapshotBytes, but no more than a quarter of the room that the disk has: or the logs would
// fill it, and then there would be none for the snapshot that takes their place, and no way out.
func (l *Log) leastForSnapshot() int64 {
	room, err := l.o.FS.Room(l.o.Dir)
	if err != nil {
		return l.o.SnapshotBytes
	}
	return min(l.o.SnapshotBytes, max(room/4, lookBytes))
}

// Attach says whose state snapshots are taken of, and begins to take them by itself. st is the store whose journal l is.
func (l *Log) Attach(st backup.Walker) {
	s := &l.snap
	s.source.Store(&st)
	s.wg.Go(func() {
		again := backoff{first: 20 * l.o.Retry, longest: 6000 * l.o.Retry}
		for {
			select {
			case <-s.ctx.Done():
				return
			case <-s.due:
			}
			if !s.isDue(l) {
				continue
			}
			_, _, err := l.Snapshot(s.ctx)
			if err == nil || s.ctx.Err() != nil {
				again.succeeded()
				continue
			}
			again.failed()
			l.o.Logger.Error("a snapshot failed; the log grows until one succeeds",
				"dir", l.o.Dir, "error", err, "again", again.pause.String())
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(time.Until(again.at)):
			}
		}
	})
}

// Snapshot writes the state of the store to a snapshot, while reads and writes go on, and removes the logs that it makes
// needless. It returns the newest version that the snapshot can have in it, and its size.
func (l *Log) Snapshot(ctx context.Context) (version uint64, size int64, err error) {
	s := &l.snap
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.source.Load()
	if st == nil {
		return 0, 0, errors.New("snapshot: no store is attached")
	}
	defer func() {
		if err == nil {
			l.stat.failing.Store(false)
		} else if ctx.Err() == nil && s.ctx.Err() == nil {
			l.stat.failing.Store(true)
			l.stat.snapshotsFailed.Add(1)
		}
	}()
	start := time.Now()
	// What was written up to here, and nothing else, is in the logs before this one. Walk shows all of it.
	r := &request{rotate: true}
	if err := l.ask(r); err != nil {
		return 0, 0, fmt.Errorf("snapshot: %w", err)
	}
	h := r.head
	h.Magic = frame.MagicSnapshot
	name := folder.SnapshotName(h.Seq)
	path := filepath.Join(l.o.Dir, name)
	version, size, err = l.writeSnapshot(ctx, *st, path+folder.TmpSuffix, h)
	if err == nil {
		err = l.o.FS.Rename(path+folder.TmpSuffix, path)
	}
	if err != nil {
		if err := l.o.FS.Remove(path + folder.TmpSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.o.Logger.Warn("an unfinished snapshot can't be removed", "file", path+folder.TmpSuffix, "error", err)
		}
		return 0, 0, fmt.Errorf("snapshot %s: %w", name, err)
	}
	if err := l.o.FS.SyncDir(l.o.Dir); err != nil {
		return 0, 0, fmt.Errorf("snapshot %s: %w", name, err)
	}
	// From here on the folder is sure to hold the snapshot.
	l.stat.snapshot.Store(size)
	l.stat.covered.Store(r.logged)
	l.stat.snapshotAt.Store(int64(time.Since(l.stat.opened)))
	l.o.Logger.Info("snapshot taken", "dir", l.o.Dir, "file", name,
		"bytes", size, "version", version, "took", time.Since(start).Round(time.Millisecond))
	d, err := folder.Read(l.o.FS, l.o.Dir)
	if err == nil {
		var p folder.Plan
		if p, err = d.Plan(func(string, int64, string) error { return nil }); err == nil {
			l.clear(p.Stale)
		}
	}
	if err != nil { // the next one tries again, or the next start
		l.o.Logger.Warn("files that a snapshot makes needless can't be removed", "dir", l.o.Dir, "error", err)
	}
	l.stat.countLogs(l.o)
	return version, size, nil
}

// writeSnapshot writes the file, up to being safe to be renamed.
func (l *Log) writeSnapshot(
	ctx context.Context, st backup.Walker, path string, h frame.Header,
) (version uint64, size int64, err error) {
	f, err := l.o.FS.Create(path)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := record.NewSnapshotWriter(io.NewOffsetWriter(f, 0), h)
	synced, written := int64(0), int64(-1) // asked at the first entry, and after each block
	err = st.Walk(func(e *store.Entry) error {
		now, _ := w.Written()
		if now != written {
			written = now
			if err := errors.Join(ctx.Err(), l.snap.ctx.Err()); err != nil {
				return err
			}
		}
		if now >= synced+syncEvery {
			synced = now
			if err := f.Sync(); err != nil {
				return err
			}
		}
		return w.Add(e)
	})
	if err != nil {
		return 0, 0, err
	}
	// What the walk showed was appended before this point. The snapshot may count only once the log can't lose any of it.
	l.mu.Lock()
	version = l.last
	l.mu.Unlock()
	if err := w.Finish(record.Point{Version: version}); err != nil {
		return 0, 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, 0, err
	}
	size, _ = w.Written()
	return version, size, l.Sync()
}
