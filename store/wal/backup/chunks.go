package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"kv/store/wal/folder"
)

// Chunks hand backups out in chunks, as clients pull them.
//
// Each takes one of few slots, and none may keep the others out of it: each of those who pull has one at most, one that is not
// pulled for a while gives way to the next, and is given up after a longer while anyhow.
type Chunks struct {
	source interface {
		Backup(ctx context.Context, w io.Writer) (version uint64, size int64, err error)
	}
	chunk    int
	idle     time.Duration // one that is not pulled for so long is given up
	givesWay time.Duration // and after so long if another one needs its slot

	mu      sync.Mutex
	streams map[uint64]*stream   // by the handle of the chunk that comes next; not those of which one is read now
	running map[*stream]struct{} // all
}

// stream is a backup that is being pulled.
type stream struct {
	owner  string
	r      *io.PipeReader
	cancel context.CancelFunc
	ended  chan struct{}

	// Guarded by the mutex of Chunks.
	handle uint64      // of the chunk that comes next; 0: one is read now
	since  time.Time   // when the last was read
	timer  *time.Timer // ends it when nobody pulls
}

// ErrNoBackup is the error of a handle that no backup has: it has ended, or nobody pulled it for too long.
var ErrNoBackup = errors.New("there is no such backup: it has ended, or was not read for too long")

// NewChunks returns the backups of source, in chunks of at most chunk bytes. One that nobody pulls for
// so long as idle says is given up, and after a sixth of that if another one needs its slot.
func NewChunks(source interface {
	Backup(ctx context.Context, w io.Writer) (version uint64, size int64, err error)
}, chunk int, idle time.Duration) *Chunks {
	return &Chunks{
		source: source, chunk: chunk, idle: idle, givesWay: idle / 6,
		streams: make(map[uint64]*stream), running: make(map[*stream]struct{}),
	}
}

// Backup returns the next chunk of a backup and the handle of the one behind it, 0 after the last. Handle 0 begins a backup,
// for an owner that may have one at a time, or for one of many if owner is empty: ErrBusy if there is no slot for it.
// A backup is whole only when its last chunk has come. A failed one has no more chunks.
func (b *Chunks) Backup(owner string, handle uint64) (next uint64, chunk []byte, err error) {
	var s *stream
	if handle == 0 {
		if s, err = b.begin(owner); err != nil {
			return 0, nil, err
		}
		handle = folder.NewID()
	} else if s = b.take(handle); s == nil {
		return 0, nil, ErrNoBackup
	}
	chunk = make([]byte, b.chunk)
	n, err := io.ReadFull(s.r, chunk)
	switch err {
	case nil:
	case io.EOF, io.ErrUnexpectedEOF:
		b.end(s)
		return 0, chunk[:n], nil
	default:
		b.end(s)
		return 0, nil, err
	}
	if handle++; handle == 0 {
		handle++
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams[handle] = s
	s.handle, s.since = handle, time.Now()
	s.timer = time.AfterFunc(b.idle, func() { b.End(handle) })
	return handle, chunk, nil
}

// End gives up the backup that would go on with handle, if there is one, and returns when its slot is free.
func (b *Chunks) End(handle uint64) {
	if s := b.take(handle); s != nil {
		b.end(s)
	}
}

// Close gives up the backups that are being pulled.
func (b *Chunks) Close() {
	b.mu.Lock()
	handles := slices.Collect(maps.Keys(b.streams))
	b.mu.Unlock()
	for _, h := range handles {
		b.End(h)
	}
}

// take makes the backup that goes on with handle the caller's; nil: there is none.
func (b *Chunks) take(handle uint64) *stream {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.streams[handle]
	if s != nil {
		delete(b.streams, handle)
		s.timer.Stop() // if it is too late for that, it finds nothing
		s.handle = 0
	}
	return s
}

// begin begins a backup, which is the caller's then.
func (b *Chunks) begin(owner string) (*stream, error) {
	for {
		b.mu.Lock()
		old := b.inTheWay(owner)
		if old == nil {
			s := b.start(owner)
			b.mu.Unlock()
			return s, nil
		}
		handle, idle := old.handle, time.Since(old.since)
		b.mu.Unlock()
		switch {
		case handle != 0 && idle >= b.givesWay:
			b.End(handle)
		case owner != "" && old.owner == owner:
			return nil, fmt.Errorf("%w: %s has one", ErrBusy, owner)
		default:
			return nil, ErrBusy
		}
	}
}

// inTheWay returns the backup that must end before owner can have one, nil if none must. Called with mu held.
func (b *Chunks) inTheWay(owner string) *stream {
	all := slices.Collect(maps.Keys(b.running))
	for _, s := range all {
		if owner != "" && s.owner == owner {
			return s
		}
	}
	if len(all) < maxAtOnce {
		return nil
	}
	// The one that was not pulled for longest; those that are pulled now are last.
	return slices.MinFunc(all, func(s, t *stream) int {
		if s.handle == 0 || t.handle == 0 {
			return cmp.Compare(t.handle, s.handle)
		}
		return s.since.Compare(t.since)
	})
}

// start starts a backup. Called with mu held.
func (b *Chunks) start(owner string) *stream {
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	s := &stream{owner: owner, r: r, cancel: cancel, ended: make(chan struct{})}
	b.running[s] = struct{}{}
	go func() {
		defer close(s.ended)
		_, _, err := b.source.Backup(ctx, w)
		w.CloseWithError(err) // nil: io.EOF
	}()
	return s
}

// end ends a backup that is the caller's, and returns when its slot is free.
func (b *Chunks) end(s *stream) {
	s.cancel()
	s.r.CloseWithError(errors.New("the backup was given up"))
	<-s.ended
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.running, s)
}
