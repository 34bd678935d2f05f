package wal

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// Backups hands backups out in chunks, as a client pulls them.
type Backups struct {
	source interface {
		Backup(ctx context.Context, w io.Writer) (version uint64, size int64, err error)
	}
	chunk int
	idle  time.Duration

	mu      sync.Mutex
	streams map[uint64]*stream // by the handle of the chunk that comes next
}

// stream is a backup that is being pulled.
type stream struct {
	r      *io.PipeReader
	cancel context.CancelFunc
	ended  chan struct{}
	timer  *time.Timer // ends it when nobody pulls
}

// ErrNoBackup is the error of a handle that no backup has: it has ended, or nobody pulled it for too long.
var ErrNoBackup = errors.New("there is no such backup: it has ended, or was not read for too long")

// NewBackups returns the backups of source, a Log or a Memory, in chunks of at most chunk bytes. One that nobody pulls for
// so long as idle says is given up.
func NewBackups(source interface {
	Backup(ctx context.Context, w io.Writer) (version uint64, size int64, err error)
}, chunk int, idle time.Duration) *Backups {
	return &Backups{source: source, chunk: chunk, idle: idle, streams: map[uint64]*stream{}}
}

// Backup returns the next chunk of a backup and the handle of the one behind it, 0 after the last. Handle 0 begins a backup.
// A backup is whole only when its last chunk has come. A failed one has no more chunks.
func (b *Backups) Backup(handle uint64) (next uint64, chunk []byte, err error) {
	var s *stream
	if handle == 0 {
		s = b.begin()
		handle = newID()
	} else {
		b.mu.Lock()
		s = b.streams[handle]
		delete(b.streams, handle)
		b.mu.Unlock()
		if s == nil || s.timer != nil && !s.timer.Stop() {
			return 0, nil, ErrNoBackup
		}
	}
	chunk = make([]byte, b.chunk)
	n, err := io.ReadFull(s.r, chunk)
	switch err {
	case nil:
	case io.EOF, io.ErrUnexpectedEOF:
		s.end()
		return 0, chunk[:n], nil
	default:
		s.end()
		return 0, nil, err
	}
	if handle++; handle == 0 {
		handle++
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams[handle] = s
	s.timer = time.AfterFunc(b.idle, func() {
		b.mu.Lock()
		delete(b.streams, handle)
		b.mu.Unlock()
		s.end()
	})
	return handle, chunk, nil
}

func (b *Backups) begin() *stream {
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	s := &stream{r: r, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		_, _, err := b.source.Backup(ctx, w)
		w.CloseWithError(err) // nil: io.EOF
	}()
	return s
}

func (s *stream) end() {
	s.cancel()
	s.r.CloseWithError(errors.New("the backup was given up"))
	<-s.ended
}

// Close gives up the backups that are being pulled.
func (b *Backups) Close() {
	b.mu.Lock()
	streams := b.streams
	b.streams = map[uint64]*stream{}
	b.mu.Unlock()
	for _, s := range streams {
		if s.timer.Stop() {
			s.end()
		}
	}
}
