package wal

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"kv/store"
	"kv/store/vfs"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/logfile"
	"kv/store/wal/record"
)

// How a store is brought back: the newest snapshot is loaded, then the logs from its sequence on are read in order, and
// what follows a bad record is judged.
//
// Of a log that another one follows, each byte up to where that one's base says it ended was on disk before the other
// one got its name (W5). Of the last one, all is proven up to the largest synced position that any record in it, before or
// behind the bad one, states (W4). But where the last one is empty, it only says where the one before it was once to end: that
// one is proven up to there, and is otherwise judged as the last. It is so after an orderly end, where nothing is behind that place, and
// where the next file was given up while it was begun, and the log went on. A bad record at a proven place is damage: the start is refused, nothing is changed.
// At an unproven place it is where a crash tore the log: nothing from there on was ever promised to anyone, even if whole
// records follow, since a disk may write a later page before an earlier one. It is saved beside the log and given up.
// But where nothing follows but zeros, that is room that was reserved, and the log ends there.
//
// The last log is then ended, and a new one begun. What was read but not proven is written to the new one again, whose base
// is the end of what is proven: after a sync that failed, the operating system shows bytes that are not on the disk, and a
// sync now would not write them. So a log may be longer than the base of the next one says; what is too much is ignored.

// Replay is part of store.Journal.
func (l *Log) Replay(load, apply func(entries []*store.Entry)) (uint64, error) {
	start := time.Now()
	r := &recovery{fs: l.o.FS, dir: l.o.Dir, load: load, apply: apply, progress: &l.progress}
	d, err := folder.Read(r.fs, r.dir)
	if err != nil {
		return 0, err
	}
	p, err := d.Plan(r.damage)
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
	l.stat.logged.Store(r.logBytes)
	l.stat.snapshot.Store(r.snapshotBytes)
	l.flusher.begin = func() (*logfile.File, error) { return l.resume(r, p) }
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
	l.o.Logger.Info("data folder loaded", "dir", l.o.Dir, "snapshot_entries", r.entries.Load(), "log_records", r.count,
		"log_bytes", r.logBytes, "version", r.last, "took", time.Since(start).Round(time.Millisecond))

	// Versions start from the clock. If what was found is ahead of it, the clock was set back, or versions were given out
	// faster than one a microsecond; then those that a crash lost may be ahead, too, and are left out.
	if now := uint64(time.Now().UnixMicro()); now > r.last {
		l.last = now - 1
	} else if r.last != 0 {
		l.last = r.last + lostVersions
	}
	if l.o.Sync == Always {
		l.durable.Store(l.last)
	}
	l.mu.Lock()
	l.running = true
	l.settle()
	l.mu.Unlock()
	go l.flusher.run()
	return l.last, nil
}

// lostVersions is more versions than a crash can lose: under policy Interval, those of a few seconds.
const lostVersions = 1 << 24

// recovery reads a folder.
type recovery struct {
	fs    vfs.FS
	dir   string
	load  func(entries []*store.Entry) // see store.Journal
	apply func(entries []*store.Entry)

	id    uint64 // of the store, where a file was read
	last  uint64 // the newest version that any file knows of
	order uint64 // the newest version of a record, of those read so far
	count int64  // records in logs

	snapshotBytes int64
	logBytes      int64
	entries       atomic.Int64 // of the snapshot
	progress      *progress

	// The log that was read last.
	name   string
	seq    uint64
	base   int64
	end    int64 // up to where it is valid; offsets are in the file
	proven int64 // up to where it is proven to have been on disk
	torn   int64 // bytes behind end
	zeros  int64 // bytes behind those: room that was not used
}

func (r *recovery) damage(file string, off int64, detail string) error {
	return &folder.DamageError{Dir: r.dir, File: file, Offset: off, Detail: detail}
}

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
	var next *openLog
	for i, seq := range p.Logs {
		cur := next
		next = nil
		var err error
		if cur == nil {
			if cur, err = r.openLog(seq); err != nil {
				return err
			}
			if cur.h.Base != base {
				cur.f.Close()
				return r.damage(cur.name, 0, fmt.Sprintf("it begins at position %d, not at %d", cur.h.Base, base))
			}
		}
		proven := int64(frame.HeaderSize)
		last := i+1 == len(p.Logs)
		if !last {
			if next, err = r.openLog(p.Logs[i+1]); err == nil && i+2 == len(p.Logs) {
				last, err = next.empty()
				proven = next.h.Base - cur.h.Base
			}
		}
		switch {
		case err != nil:
		case !last:
			err = r.readSealed(cur, next.h.Base, router)
		default:
			err = r.readLast(cur, proven, router)
		}
		cur.f.Close()
		if err != nil {
			if next != nil {
				next.f.Close()
			}
			return err
		}
		if last {
			if next != nil {
				next.f.Close()
			}
			break
		}
	}
	return nil
}

// openLog is a log whose header was read.
type openLog struct {
	name string
	f    vfs.File
	fr   *frame.Reader
	h    frame.Header
}

// empty reports whether g has nothing behind its header, but for room that was reserved.
func (g *openLog) empty() (bool, error) {
	used, err := g.fr.Used(frame.HeaderSize)
	return used == frame.HeaderSize, err
}

func (r *recovery) openLog(seq uint64) (*openLog, error) {
	name := folder.LogName(seq)
	f, fr, h, err := r.open(name, frame.MagicLog, seq)
	if err != nil {
		return nil, err
	}
	return &openLog{name, f, fr, h}, nil
}

// open opens a file of the folder and checks its header.
func (r *recovery) open(name, magic string, seq uint64) (vfs.File, *frame.Reader, frame.Header, error) {
	f, err := r.fs.Open(filepath.Join(r.dir, name))
	if err != nil {
		return nil, nil, frame.Header{}, err
	}
	fr, h, err := frame.Open(f, magic)
	switch {
	case err == nil && h.Seq != seq:
		err = r.damage(name, 0, fmt.Sprintf("its header is that of sequence %x", h.Seq))
	case err == nil && r.id != 0 && h.ID != r.id:
		err = r.damage(name, 0, "it belongs to another store")
	case err == nil:
		r.id = h.ID
		return f, fr, h, nil
	case frame.IsFinal(err):
		err = fmt.Errorf("%s: %w", filepath.Join(r.dir, name), err)
	default:
		err = r.damage(name, 0, err.Error())
	}
	f.Close()
	return nil, nil, h, err
}

// readSealed reads a log that another one follows, which begins at position next.
func (r *recovery) readSealed(g *openLog, next int64, router *router) error {
	end := next - g.h.Base
	if end < frame.HeaderSize || end > g.fr.End {
		return r.short(g, end)
	}
	g.fr.End = end
	err := r.records(g, router)
	if err == frame.ErrBad {
		return r.damage(g.name, g.fr.Off, "no valid record, before the end of a log that was complete")
	}
	r.logBytes += end - frame.HeaderSize
	return err
}

// readLast reads the log that was being written, of which proven bytes are known to have been on disk, and judges what follows
// a bad record.
func (r *recovery) readLast(g *openLog, proven int64, router *router) error {
	if proven < frame.HeaderSize || proven > g.fr.End {
		return r.short(g, proven)
	}
	r.name, r.seq, r.base, r.proven = g.name, g.h.Seq, g.h.Base, proven
	err := r.records(g, router)
	if err != nil && err != frame.ErrBad {
		return err
	}
	r.end = g.fr.Off
	r.logBytes += r.end - frame.HeaderSize
	if r.end < proven {
		return r.damage(r.name, r.end, fmt.Sprintf("no valid record, though the next log says that this one was on disk up to offset %d", proven))
	}
	if err == nil {
		return nil
	}
	used, err := g.fr.Used(r.end)
	if err != nil {
		return err
	}
	r.torn, r.zeros = used-r.end, g.fr.End-used
	if r.torn == 0 {
		return nil
	}
	return r.judge(g)
}

// short is the error of a log that has not the n bytes that the next one says it had.
func (r *recovery) short(g *openLog, n int64) error {
	return r.damage(g.name, g.fr.End, fmt.Sprintf("it has %d bytes, and had %d when the next one was begun", g.fr.End, n))
}

// judge decides whether the bad record at r.end is a torn tail, and returns an error if it is not.
func (r *recovery) judge(g *openLog) error {
	order := r.order
	plausible := func(off int64, body []byte) bool {
		version, synced, _ := record.Parse(body)
		return (version == 0 || version > order) && synced <= r.base+off
	}
	for from := r.end + 1; ; {
		off, err := g.fr.Find(from, record.HeaderSize, plausible)
		if err != nil {
			return err
		}
		if off == g.fr.End {
			return nil
		}
		g.fr.Off = off
		body, err := g.fr.Next()
		if err != nil {
			return err
		}
		if _, ok := record.Valid(body); !ok {
			from = off + 1
			continue
		}
		version, synced, _ := record.Parse(body)
		order = max(order, version)
		if synced > r.base+r.end {
			return r.damage(r.name, r.end, fmt.Sprintf("no valid record, though the one at offset %d says that the log was on disk up to offset %d", off, synced-r.base))
		}
		from = g.fr.Off
	}
}

// records applies the records of g, up to its end or the first that is not valid: frame.ErrBad.
func (r *recovery) records(g *openLog, router *router) error {
	for {
		off := g.fr.Off
		body, err := g.fr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		version, synced, ok := record.Parse(body)
		switch {
		case !ok:
			return r.damage(g.name, off, "the record is too short")
		case synced > g.h.Base+off:
			return r.damage(g.name, off, fmt.Sprintf("the record says that the log was synced up to position %d", synced))
		case version != 0 && version <= r.order:
			return r.damage(g.name, off, fmt.Sprintf("version %d comes after version %d", version, r.order))
		}
		if g.name == r.name {
			r.proven = max(r.proven, synced-r.base)
		}
		r.progress.done.Add(g.fr.Off - off)
		if version == 0 {
			continue
		}
		r.order, r.last = version, max(r.last, version)
		r.count++
		for b := body[record.HeaderSize:]; len(b) > 0; {
			var e record.Entry
			if e, b, ok = record.ParseEntry(b); !ok {
				return r.damage(g.name, off, "the record holds no valid entry where one should be")
			}
			router.add(e.Make(version))
		}
	}
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
		if f, err := r.fs.Open(filepath.Join(r.dir, name)); err == nil {
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
				log.Info("loading the data folder", "dir", r.dir, "bytes", done, "of", total, "percent", done*100/max(total, 1))
			}
		}
	}()
	return func() { close(quit) }
}
