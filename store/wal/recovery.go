package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"kv/store"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/logfile"
	"kv/store/wal/record"
)

// How a store is brought back: the newest snapshot is loaded, then the logs from its sequence on are read in order,
// what follows a bad record is judged, and the log goes on: package logfile has how, and why.

// Replay is part of store.Journal.
func (l *Log) Replay(load, apply func(entries []*store.Entry)) (uint64, error) {
	start := time.Now()
	r := &recovery{load: load, apply: apply, progress: &l.progress}
	r.Reader = logfile.Reader{
		FS: l.o.FS, Dir: l.o.Dir, Magic: frame.MagicLog, Logger: l.o.Logger, Valid: record.Valid,
		Progress: func(n int64) { l.progress.done.Add(n) },
	}
	d, err := folder.Read(r.FS, r.Dir)
	if err != nil {
		return 0, err
	}
	p, err := d.Plan(r.Damage)
	if err != nil {
		return 0, err
	}
	stop := r.report(l.o.Logger, p)
	err = r.run(p)
	stop()
	if err != nil {
		return 0, fmt.Errorf("recovery: %w", err)
	}
	l.clear(append(p.Stale, d.Tmp...)) // before room is needed
	l.stat.logged.Store(r.Bytes)
	l.stat.snapshot.Store(r.snapshotBytes)
	l.flusher.begin = func() (*logfile.File, error) {
		f, err := r.Resume(l.o.file())
		if r.Rescue != "" {
			l.stat.torn.Store(r.Torn)
		}
		return f, err
	}
	switch file, err := l.flusher.begin(); {
	case err == nil:
		l.flusher.use(file)
		l.flusher.reserve(0)
	case logfile.NoRoom(err):
		// What was read can be shown. The flusher goes on trying, and writes are refused until it has begun the log.
		l.flusher.room.failed()
		l.mu.Lock()
		l.held = err
		l.refuse(err, 0)
		l.mu.Unlock()
		l.stat.countLogs(l.o)
	default:
		return 0, fmt.Errorf("recovery: %w", err)
	}
	l.o.Logger.Info("data folder loaded", "dir", l.o.Dir, "snapshot_entries", r.entries.Load(), "log_records", r.Count,
		"log_bytes", r.Bytes, "version", r.last(), "took", time.Since(start).Round(time.Millisecond))

	// Versions start from the clock. If what was found is ahead of it, the clock was set back, or versions were given out
	// faster than one a microsecond; then those that a crash lost may be ahead, too, and are left out.
	if now := uint64(time.Now().UnixMicro()); now > r.last() {
		l.last = now - 1
	} else if r.last() != 0 {
		l.last = r.last() + lostVersions
	}
	if l.o.Sync == Always {
		l.durable.Store(l.last)
	}
	l.mu.Lock()
	l.running = true
	l.updateAdmits()
	l.mu.Unlock()
	go l.flusher.run()
	return l.last, nil
}

// clear removes files that are no longer needed. That one stays is no harm: the next start tries again.
func (l *Log) clear(names []string) {
	for _, name := range names {
		if err := l.o.FS.Remove(filepath.Join(l.o.Dir, name)); err != nil {
			l.o.Logger.Warn("a file that is no longer needed can't be removed", "dir", l.o.Dir, "file", name, "error", err)
		}
	}
}

// lostVersions is more versions than a crash can lose: under policy Interval, those of a few seconds.
const lostVersions = 1 << 24

// recovery reads a folder.
type recovery struct {
	logfile.Reader                              // of the logs
	load           func(entries []*store.Entry) // see store.Journal
	apply          func(entries []*store.Entry)

	newest        uint64 // version that the snapshot knows of
	snapshotBytes int64
	entries       atomic.Int64 // of the snapshot
	progress      *progress
}

// last returns the newest version that any file knows of.
func (r *recovery) last() uint64 { return max(r.newest, r.Last) }

func (r *recovery) run(p folder.Plan) error {
	base := int64(0)
	if p.Snapshot != 0 {
		h, err := r.loadSnapshot(folder.SnapshotName(p.Snapshot), p.Snapshot)
		if err != nil {
			return err
		}
		base = h.Base
	}
	router := newRouter(r.apply)
	defer router.stop()
	r.Apply = func(version uint64, body []byte) error {
		var e record.Entry
		for b := body[frame.RecordHead:]; len(b) > 0; {
			rest, ok := record.ParseEntry(b, &e)
			if !ok {
				return errors.New("the record holds no valid entry where one should be")
			}
			router.add(version, &e)
			b = rest
		}
		return nil
	}
	return r.Read(p.Logs, base)
}

// progress is how far a recovery is, in bytes. Each publishes nothing but itself.
type progress struct{ done, total atomic.Int64 }

// Progress returns how many bytes of the folder Replay has read so far, and how many it has to read; 0 before it knows. It may
// be called at any time.
func (l *Log) Progress() (done, total int64) { return l.progress.done.Load(), l.progress.total.Load() }

// report logs every second how far the recovery is, until the function that it returns is called.
func (r *recovery) report(log *slog.Logger, p folder.Plan) (stop func()) {
	var total int64
	size := func(name string) {
		if f, err := r.FS.Open(filepath.Join(r.Dir, name)); err == nil {
			n, _ := f.Size()
			total += n
			f.Close()
		}
	}
	if p.Snapshot != 0 {
		size(folder.SnapshotName(p.Snapshot))
	}
	for _, seq := range p.Logs {
		size(folder.LogName(seq))
	}
	r.progress.total.Store(total)
	quit := make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				done := r.progress.done.Load()
				log.Info("loading the data folder", "dir", r.Dir, "bytes", done, "of", total, "percent", done*100/max(total, 1))
			}
		}
	}()
	return func() { close(quit) }
}
