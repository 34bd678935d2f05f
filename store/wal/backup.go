package wal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"kv/store"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/record"
)

// A backup is the state of a store at one instant, in a snapshot's format. A walk alone would not do: it takes its time, and
// shows each key as of another instant. So what is appended while it runs is collected, and written as tails: applied over
// what the walk has shown, each only where it is newer, it gives the state at the instant at which the walk ended.

// ErrBackupBusy is the error of a backup while as many as there may be run.
var ErrBackupBusy = errors.New("other backups are running")

// ErrBackupSlow is the error of a backup whose reader takes less than what is written meanwhile.
var ErrBackupSlow = errors.New("the backup is read more slowly than the store is written to")

// maxBackups is how many backups may run at a time.
const maxBackups = 4

// DefaultBackupBytes is how many bytes of writes all backups together may be behind, where LimitBackups does not say.
const DefaultBackupBytes = 64 << 20

// tap collects writes for a backup. The journal's mutex guards it.
type tap struct {
	writes   []write
	bytes    int64
	overflow bool
}

// taps are those of the backups that run. The journal's mutex guards them.
type taps struct {
	all   []*tap
	limit int64 // of the bytes of all; 0: DefaultBackupBytes
}

// begin has what is added from now on collected in t.
func (p *taps) begin(t *tap) error {
	if len(p.all) == maxBackups {
		return ErrBackupBusy
	}
	p.all = append(p.all, t)
	return nil
}

// end ends that, if it has not ended before.
func (p *taps) end(t *tap) {
	p.all = slices.DeleteFunc(p.all, func(x *tap) bool { return x == t })
}

// tapOverhead is about what a write takes in a tap besides its record.
const tapOverhead = 96

// add adds a write to all. Where they are too far behind, the one that is furthest gives up.
func (p *taps) add(version uint64, entries []*store.Entry) {
	if len(p.all) == 0 {
		return
	}
	w, size, total := write{version, slices.Clone(entries)}, int64(record.Size(entries)+tapOverhead), int64(0)
	for _, t := range p.all {
		if !t.overflow {
			t.writes, t.bytes = append(t.writes, w), t.bytes+size
			total += t.bytes
		}
	}
	if total > cmp.Or(p.limit, DefaultBackupBytes) {
		t := slices.MaxFunc(p.all, func(a, b *tap) int { return cmp.Compare(a.bytes, b.bytes) })
		t.writes, t.bytes, t.overflow = nil, 0, true
	}
}

// tapped is a journal that a backup can be taken of.
type tapped interface {
	// beginTap has what is appended from now on added to t: ErrBackupBusy if there are as many as there may be.
	beginTap(t *tap) error
	// endTap ends that, if it has not ended.
	endTap(t *tap)
	// drain returns what t has collected. With last it also ends the tap, and version is that of the state then.
	drain(t *tap, last bool) (writes []write, version uint64, err error)
}

// backup writes the state of st, whose journal j is, at the instant at which its walk ends.
func backup(ctx context.Context, j tapped, st Walker, out io.Writer, wait func(version uint64) error) (version uint64, size int64, err error) {
	t := &tap{}
	if err := j.beginTap(t); err != nil {
		return 0, 0, err
	}
	defer j.endTap(t)
	w := record.NewSnapshotWriter(out, frame.Header{Magic: frame.MagicSnapshot, ID: folder.NewID(), Seq: 1, Base: 0})
	tails := func(last bool) error {
		writes, v, err := j.drain(t, last)
		if err != nil {
			return err
		}
		version = v
		for _, x := range writes {
			for _, e := range x.entries {
				if err := w.AddTail(x.version, e); err != nil {
					return err
				}
			}
		}
		return nil
	}
	blocks := uint64(0)
	err = st.Walk(func(e *store.Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, written := w.Written(); written != blocks { // one was, which may have taken long
			if err := tails(false); err != nil {
				return err
			}
			blocks = written
		}
		return w.Add(e)
	})
	if err == nil {
		err = tails(true)
	}
	if err == nil {
		err = wait(version) // a backup shows nothing that a crash could undo
	}
	if err == nil {
		err = w.Finish(version)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("backup: %w", err)
	}
	size, _ = w.Written()
	return version, size, nil
}

// Backup writes the state of the store at one instant, while reads and writes go on, and returns the newest version that
// it has in it, and its size. [Restore] makes a data folder of it. Four may run at a time; one more is ErrBackupBusy. One whose
// writer is slower than what is written to the store ends with ErrBackupSlow.
func (l *Log) Backup(ctx context.Context, w io.Writer) (version uint64, size int64, err error) {
	st := l.snap.source.Load()
	if st == nil {
		return 0, 0, errors.New("backup: no store is attached")
	}
	return backup(ctx, l, *st, w, l.Wait)
}

// LimitBackups says how many bytes of writes all backups together may be behind: they take that memory while they run.
func (l *Log) LimitBackups(bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taps.limit = bytes
}

func (l *Log) beginTap(t *tap) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taps.begin(t)
}

func (l *Log) endTap(t *tap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taps.end(t)
}

func (l *Log) drain(t *tap, last bool) ([]write, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last {
		l.taps.end(t)
	}
	return t.take(l.last)
}

func (t *tap) take(version uint64) ([]write, uint64, error) {
	if t.overflow {
		return nil, 0, ErrBackupSlow
	}
	writes := t.writes
	t.writes, t.bytes = nil, 0
	return writes, version, nil
}
