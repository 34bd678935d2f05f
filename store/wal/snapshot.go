package wal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"kv/store"
)

// A snapshot's frames have bodies of three kinds, by their first byte:
//
//	block    1        1, then entries, each with its version before it (u64); all those of one key, its earlier versions
//	                  first, are in one block; the order of the keys means nothing
//	tail     any      2, then entries as in a block, to be applied in order once all blocks are: only in a backup
//	trailer  1, last  3, entries (u64), blocks and tails (u64), version (u64): the newest that the state can have in it
//
// The numbers are frozen: they are in files.
const (
	kindBlock   = 1
	kindTail    = 2
	kindTrailer = 3

	trailerSize = 25 // of the body

	blockSize = 128 << 10 // about how long a block is, values of more than that aside
	syncEvery = 16 << 20  // a snapshot is synced in steps, so that the log's syncs need not wait for all of it
)

// Walker shows all entries of a store: Store.Walk.
type Walker interface {
	Walk(f func(*store.Entry) error) error
}

// trailer is the last frame of a snapshot.
type trailer struct {
	entries, blocks, version uint64
}

func parseTrailer(body []byte) (t trailer, ok bool) {
	if len(body) != trailerSize || body[0] != kindTrailer {
		return t, false
	}
	return trailer{binary.BigEndian.Uint64(body[1:]), binary.BigEndian.Uint64(body[9:]), binary.BigEndian.Uint64(body[17:])}, true
}

// parseVersioned reads an entry with its version before it.
func parseVersioned(b []byte) (version uint64, e rawEntry, rest []byte, ok bool) {
	if len(b) < 8 {
		return 0, e, nil, false
	}
	e, rest, ok = parseEntry(b[8:])
	return binary.BigEndian.Uint64(b), e, rest, ok
}

// snapshotWriter writes the frames of a snapshot.
type snapshotWriter struct {
	w     io.Writer
	enc   encoder
	kind  byte // of the block that is being filled; 0: none is
	begun int  // where it begins in enc.buf
	first int  // its first large value in enc.large
	size  int  // its bytes, about
	key   []byte
	n     trailer
	bytes int64 // written
}

func newSnapshotWriter(w io.Writer, h header) *snapshotWriter {
	s := &snapshotWriter{w: w}
	s.enc.seed = h.seed()
	s.enc.buf = h.append(nil)
	s.enc.n = headerSize
	return s
}

// add adds an entry that has its version.
func (s *snapshotWriter) add(e *store.Entry) error {
	if s.size >= blockSize && !bytes.Equal(e.Key(), s.key) {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.versioned(kindBlock, e.Version(), e)
	s.key = e.Key()
	return nil
}

// addTail adds an entry that follows those of all blocks.
func (s *snapshotWriter) addTail(version uint64, e *store.Entry) error {
	if s.kind == kindBlock || s.size >= blockSize {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.versioned(kindTail, version, e)
	return nil
}

func (s *snapshotWriter) versioned(kind byte, version uint64, e *store.Entry) {
	if s.kind == 0 {
		s.kind, s.begun, s.first = kind, len(s.enc.buf), len(s.enc.large)
		s.enc.buf = append(s.enc.buf, make([]byte, frameHeader)...)
		s.enc.buf = append(s.enc.buf, kind)
	}
	s.enc.buf = binary.BigEndian.AppendUint64(s.enc.buf, version)
	s.enc.entry(e)
	s.size += 8 + entryHeader + len(e.Key()) + e.Len()
	s.n.entries++
}

// flush ends the block that is being filled, and writes what there is.
func (s *snapshotWriter) flush() error {
	if s.kind != 0 {
		s.enc.end(s.begun, s.first)
		s.kind, s.size, s.key = 0, 0, nil
		s.n.blocks++
	}
	n := int64(s.enc.n)
	if err := s.enc.writeTo(s.w); err != nil {
		return err
	}
	s.bytes += n
	return nil
}

// finish writes the trailer.
func (s *snapshotWriter) finish(version uint64) error {
	if err := s.flush(); err != nil {
		return err
	}
	s.n.version = version
	b := []byte{kindTrailer}
	for _, n := range []uint64{s.n.entries, s.n.blocks, s.n.version} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	s.enc.frame(b)
	return s.flush()
}

// snapshots is what a Log knows of its snapshots.
type snapshots struct {
	due    chan struct{}          // of capacity 1: one should be taken
	source atomic.Pointer[Walker] // nil: Attach was not called
	least  atomic.Int64           // how many bytes of logs make one due; set by the flusher
	looked int64                  // how many there were when least was set; the flusher's own
	mu     sync.Mutex             // held while one is taken

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

// leastForSnapshot returns SnapshotBytes, but no more than a quarter of the room that the disk has: or the logs would fill it, and then there
// would be none for the snapshot that takes their place, and no way out.
func (l *Log) leastForSnapshot() int64 {
	room, err := l.o.FS.Room(l.o.Dir)
	if err != nil {
		return l.o.SnapshotBytes
	}
	return min(l.o.SnapshotBytes, max(room/4, lookBytes))
}

// Attach says whose state snapshots are taken of, and begins to take them by itself. st is the store whose journal l is.
func (l *Log) Attach(st Walker) {
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
			l.o.Logger.Error("a snapshot failed; the log grows until one succeeds", "dir", l.o.Dir, "err", err, "again", again.pause.String())
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
		if err != nil && ctx.Err() == nil && s.ctx.Err() == nil {
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
	h.magic = magicSnapshot
	name := snapshotName(h.seq)
	path := filepath.Join(l.o.Dir, name)
	version, size, err = l.writeSnapshot(ctx, *st, path+tmpSuffix, h)
	if err == nil {
		err = l.o.FS.Rename(path+tmpSuffix, path)
	}
	if err != nil {
		if err := l.o.FS.Remove(path + tmpSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.o.Logger.Warn("an unfinished snapshot can't be removed", "file", path+tmpSuffix, "err", err)
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
	l.o.Logger.Info("snapshot taken", "dir", l.o.Dir, "file", name, "bytes", size, "version", version, "took", time.Since(start).Round(time.Millisecond))
	d, err := readFolder(l.o.FS, l.o.Dir)
	if err == nil {
		var p plan
		if p, err = d.plan(func(string, int64, string) error { return nil }); err == nil {
			l.clear(p.stale)
		}
	}
	if err != nil { // the next one tries again, or the next start
		l.o.Logger.Warn("files that a snapshot makes needless can't be removed", "dir", l.o.Dir, "err", err)
	}
	l.stat.countLogs(l.o)
	return version, size, nil
}

// writeSnapshot writes the file, up to being safe to be renamed.
func (l *Log) writeSnapshot(ctx context.Context, st Walker, path string, h header) (version uint64, size int64, err error) {
	f, err := l.o.FS.Create(path)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := newSnapshotWriter(io.NewOffsetWriter(f, 0), h)
	synced, written := int64(0), int64(-1) // asked at the first entry, and after each block
	err = st.Walk(func(e *store.Entry) error {
		if w.bytes != written {
			written = w.bytes
			if err := errors.Join(ctx.Err(), l.snap.ctx.Err()); err != nil {
				return err
			}
		}
		if w.bytes >= synced+syncEvery {
			synced = w.bytes
			if err := f.Sync(); err != nil {
				return err
			}
		}
		return w.add(e)
	})
	if err != nil {
		return 0, 0, err
	}
	// What the walk showed was appended before this point. The snapshot may count only once the log can't lose any of it.
	l.mu.Lock()
	version = l.last
	l.mu.Unlock()
	if err := w.finish(version); err != nil {
		return 0, 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, 0, err
	}
	return version, w.bytes, l.Sync()
}
