// Package backup writes the state of a store at one instant, while reads and writes go on, and hands that out in chunks.
package backup

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

// ErrBusy is the error of a backup while as many as there may be run.
var ErrBusy = errors.New("other backups are running")

// ErrSlow is the error of a backup whose reader takes less than what is written meanwhile.
var ErrSlow = errors.New("the backup is read more slowly than the store is written to")

// maxAtOnce is how many backups may run at a time.
const maxAtOnce = 4

// DefaultBytes is how many bytes of writes all backups together may be behind, where LimitBackups does not say.
const DefaultBytes = 64 << 20

// Limits bound the backups of one store. Its journal embeds them.
type Limits struct {
	atOnce atomic.Int32 // how many run
	behind atomic.Int64 // see LimitBackups; 0: DefaultBytes
}

// LimitBackups says how many bytes of writes a backup that begins from now on may be behind; all that run take no more
// memory than that together.
func (l *Limits) LimitBackups(bytes int64) { l.behind.Store(bytes) }

// Walker is a store whose state is written down: see the methods of store.Store.
type Walker interface {
	Walk(f func(*store.Entry) error) error
	Barrier()
}

// Journal is the journal of a store that a backup can be taken of.
type Journal interface {
	Subscribe(limit int64) (*feed.Subscription, error)
	Wait(version uint64) error
	// Last takes what is left of a subscription and ends it; at says of when the state is that the store then has.
	Last(s *feed.Subscription) (records []feed.Record, at record.Point, err error)
}

// Take writes the state of st, whose journal j is, at the instant at which its walk ends, and returns the newest
// version in it, and its size. Restore of package tool makes a data folder of it. Four may run at a time; one more is
// ErrBusy. One whose writer is slower than what is written to the store ends with ErrSlow.
func Take(ctx context.Context, l *Limits, j Journal, st Walker, out io.Writer) (version uint64, size int64, err error) {
	defer func() {
		switch {
		case errors.Is(err, feed.ErrBehind):
			err = fmt.Errorf("backup: %w", ErrSlow)
		case err != nil && !errors.Is(err, ErrBusy):
			err = fmt.Errorf("backup: %w", err)
		}
	}()
	defer l.atOnce.Add(-1)
	if l.atOnce.Add(1) > maxAtOnce {
		return 0, 0, ErrBusy
	}
	sub, err := j.Subscribe(cmp.Or(l.behind.Load(), DefaultBytes))
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
	records, at, err := j.Last(sub)
	if err := tails(records, err); err != nil {
		return 0, 0, err
	}
	if err := j.Wait(at.Version); err != nil { // a backup shows nothing that a crash could undo
		return 0, 0, err
	}
	if err := w.Finish(at); err != nil {
		return 0, 0, err
	}
	size, _ = w.Written()
	return at.Version, size, nil
}
