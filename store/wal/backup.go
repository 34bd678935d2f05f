package wal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"kv/store"
	"kv/store/wal/feed"
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

// backups are those that run. Their journal embeds it.
type backups struct {
	atOnce atomic.Int32 // how many run
	behind atomic.Int64 // see LimitBackups; 0: DefaultBackupBytes
}

// LimitBackups says how many bytes of writes a backup that begins from now on may be behind; all that run take no more memory than that
// together.
func (b *backups) LimitBackups(bytes int64) { b.behind.Store(bytes) }

// followed is a journal that a backup can be taken of.
type followed interface {
	Subscribe(limit int64) (*feed.Subscription, error)
	Wait(version uint64) error
	// last takes what is left of a subscription and ends it; version is that of the state then.
	lastOf(s *feed.Subscription) (records []feed.Record, version uint64, err error)
}

// backup writes the state of st, whose journal j is, at the instant at which its walk ends.
func (b *backups) backup(ctx context.Context, j followed, st Walker, out io.Writer) (version uint64, size int64, err error) {
	defer func() {
		switch {
		case errors.Is(err, feed.ErrBehind):
			err = fmt.Errorf("backup: %w", ErrBackupSlow)
		case err != nil && !errors.Is(err, ErrBackupBusy):
			err = fmt.Errorf("backup: %w", err)
		}
	}()
	defer b.atOnce.Add(-1)
	if b.atOnce.Add(1) > maxBackups {
		return 0, 0, ErrBackupBusy
	}
	sub, err := j.Subscribe(cmp.Or(b.behind.Load(), DefaultBackupBytes))
	if err != nil {
		return 0, 0, err
	}
	defer sub.Close()
	w := record.NewSnapshotWriter(out, frame.Header{Magic: frame.MagicSnapshot, ID: folder.NewID(), Seq: 1, Base: 0})
	tails := func(records []feed.Record, err error) error {
		if err != nil {
			return err
		}
		for _, r := range records {
			for _, e := range r.Entries {
				if err := w.AddTail(r.Version, e); err != nil {
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
			if err := tails(sub.Take()); err != nil {
				return err
			}
			blocks = written
		}
		return w.Add(e)
	})
	if err != nil {
		return 0, 0, err
	}
	records, version, err := j.lastOf(sub)
	if err := tails(records, err); err != nil {
		return 0, 0, err
	}
	if err := j.Wait(version); err != nil { // a backup shows nothing that a crash could undo
		return 0, 0, err
	}
	if err := w.Finish(version); err != nil {
		return 0, 0, err
	}
	size, _ = w.Written()
	return version, size, nil
}

// Backup writes the state of the store at one instant, while reads and writes go on, and returns the newest version that
// it has in it, and its size. Restore of package tool makes a data folder of it. Four may run at a time; one more is ErrBackupBusy. One whose
// writer is slower than what is written to the store ends with ErrBackupSlow.
func (l *Log) Backup(ctx context.Context, w io.Writer) (version uint64, size int64, err error) {
	st := l.snap.source.Load()
	if st == nil {
		return 0, 0, errors.New("backup: no store is attached")
	}
	return l.backup(ctx, l, *st, w)
}

// Subscribe begins a subscription to what is written to the store that is attached: all of a later version than its From, which may be
// limit bytes behind. A record says what was appended: it may not have taken effect in the store yet, and before [Log.Wait] has returned for its
// version a crash may undo it. Whoever wants the state too walks the store after that, and takes of each key what is newer.
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

func (l *Log) lastOf(s *feed.Subscription) ([]feed.Record, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	records, err := s.Last()
	return records, l.last, err
}
