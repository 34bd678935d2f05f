package wal

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"kv/store"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/record"
)

// router applies entries on all processors, those of one key in the order in which they were added.
type router struct {
	apply   func(entries []*store.Entry)
	seed    maphash.Seed
	pending []*decoder
	workers []chan *decoder
	spare   sync.Pool
	wg      sync.WaitGroup
}

const routerBatch = 1024

func newRouter(apply func(entries []*store.Entry)) *router {
	n := runtime.GOMAXPROCS(0)
	r := &router{apply: apply, seed: maphash.MakeSeed(), pending: make([]*decoder, n), workers: make([]chan *decoder, n)}
	r.spare.New = func() any { return new(decoder) }
	for i := range r.workers {
		c := make(chan *decoder, 8)
		r.pending[i], r.workers[i] = r.spare.Get().(*decoder), c
		r.wg.Go(func() {
			for d := range c {
				r.apply(d.entries)
				d.reset()
				r.spare.Put(d)
			}
		})
	}
	return r
}

func (r *router) add(version uint64, e *record.Entry) {
	i := maphash.Bytes(r.seed, e.Key) % uint64(len(r.workers))
	d := r.pending[i]
	d.entries = append(d.entries, e.MakeIn(&d.maker, version))
	if len(d.entries) == routerBatch {
		r.workers[i] <- d
		r.pending[i] = r.spare.Get().(*decoder)
	}
}

// stop returns once all is applied.
func (r *router) stop() {
	for i, c := range r.workers {
		if d := r.pending[i]; len(d.entries) > 0 {
			c <- d
		}
		close(c)
	}
	r.wg.Wait()
}

// decoder is what entries are made with, for one batch, or block, after the other.
type decoder struct {
	maker   store.Maker
	entries []*store.Entry
}

func (d *decoder) reset() {
	d.maker.Reset()
	clear(d.entries)
	d.entries = d.entries[:0]
}

// loadSnapshot applies all of a snapshot: its blocks on all processors, then its tail in order.
func (r *recovery) loadSnapshot(name string, seq uint64) (frame.Header, error) {
	f, fr, h, err := r.Open(name, frame.MagicSnapshot, seq)
	if err != nil {
		return h, err
	}
	defer f.Close()
	r.snapshotBytes = fr.End

	l := &loader{r: r, name: name, fr: fr, blocks: make(chan block, runtime.GOMAXPROCS(0))}
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(l.work)
	}
	t, err := l.read()
	close(l.blocks)
	wg.Wait()
	if bad := l.bad.Load(); bad != nil {
		err = *bad
	}
	if err != nil {
		return h, err
	}
	var d decoder
	for _, b := range l.tail {
		if err := l.decode(b, &d); err != nil {
			return h, err
		}
	}
	if n := uint64(r.entries.Load()); n != t.Entries {
		return h, r.Damage(name, fr.Off, fmt.Sprintf("the snapshot holds %d entries, and was written with %d", n, t.Entries))
	}
	r.newest = t.Version
	return h, nil
}

// Expect is part of store.Journal. It counts the snapshot's entries; what can't be read counts nothing, and is Replay's
// to complain about.
func (l *Log) Expect() int64 {
	d, err := folder.Read(l.o.FS, l.o.Dir)
	if err != nil || len(d.Snapshots) == 0 {
		return 0
	}
	f, err := l.o.FS.Open(filepath.Join(l.o.Dir, folder.SnapshotName(d.Snapshots[len(d.Snapshots)-1])))
	if err != nil {
		return 0
	}
	defer f.Close()
	fr, _, err := frame.Open(f, frame.MagicSnapshot)
	if err != nil {
		return 0
	}
	fr.Off = max(fr.Off, fr.End-frame.Overhead-record.TrailerSize)
	body, err := fr.Next()
	if err != nil {
		return 0
	}
	t, _ := record.ParseTrailer(body)
	return int64(min(t.Entries, uint64(fr.End/record.EntryOverhead)))
}

// loader loads one snapshot.
type loader struct {
	r      *recovery
	name   string
	fr     *frame.Reader
	blocks chan block
	pool   sync.Pool
	tail   []block
	bad    atomic.Pointer[error] // the first error of a worker
}

// block is a frame whose checksum was not verified yet. data is the whole frame; nil: still to be read.
type block struct {
	off, size int64
	data      []byte
}

// read hands the blocks to the workers and returns the trailer.
func (l *loader) read() (record.Trailer, error) {
	fr := l.fr
	fr.Ahead = 512 // it is for the heads of the blocks only: fill reads them
	n := uint64(0)
	for l.bad.Load() == nil {
		if fr.Off == fr.End {
			return record.Trailer{}, l.r.Damage(l.name, fr.Off, "the snapshot ends without its trailer")
		}
		off := fr.Off
		size, err := fr.Length(off)
		if err == nil && size == 0 {
			err = frame.ErrBad
		}
		if err == nil && size > frame.TrustedLen {
			var ok bool
			if ok, err = fr.Verify(off, size); err == nil && !ok {
				err = frame.ErrBad
			}
		}
		if err == frame.ErrBad {
			err = l.r.Damage(l.name, off, "no valid block")
		}
		if err != nil {
			return record.Trailer{}, err
		}
		kind, err := fr.Window(off, frame.Overhead+1)
		if err != nil {
			return record.Trailer{}, err
		}
		b := block{off: off, size: frame.Overhead + size}
		switch kind[frame.Overhead] {
		case record.KindTrailer:
			return l.trailer(n)
		case record.KindTail:
			l.tail = append(l.tail, b)
		default:
			if b, err = l.fill(b); err != nil {
				return record.Trailer{}, err
			}
			l.blocks <- b
		}
		fr.Off += b.size
		n++
	}
	return record.Trailer{}, nil
}

// fill reads the bytes of b.
func (l *loader) fill(b block) (block, error) {
	buf, _ := l.pool.Get().(*[]byte)
	if buf == nil || int64(cap(*buf)) < b.size {
		fresh := make([]byte, max(b.size, record.BlockSize+record.BlockSize/4))
		buf = &fresh
	}
	b.data = (*buf)[:b.size]
	if n, err := l.fr.F.ReadAt(b.data, b.off); int64(n) < b.size {
		return b, fmt.Errorf("%s: %w", l.name, errors.Join(err, io.ErrUnexpectedEOF))
	}
	return b, nil
}

func (l *loader) work() {
	var d decoder
	for b := range l.blocks {
		if l.bad.Load() != nil {
			continue
		}
		if err := l.decode(b, &d); err != nil {
			l.bad.CompareAndSwap(nil, &err)
		}
	}
}

// decode gives the store the entries of a block.
func (l *loader) decode(b block, d *decoder) error {
	if b.data == nil {
		var err error
		if b, err = l.fill(b); err != nil {
			return err
		}
	}
	defer func() {
		if cap(b.data) <= 4*record.BlockSize {
			l.pool.Put(&b.data)
		}
	}()
	if !frame.Valid(l.fr.Seed, b.data) {
		return l.r.Damage(l.name, b.off, "no valid block")
	}
	body := b.data[frame.Overhead:]
	if body[0] != record.KindBlock && body[0] != record.KindTail {
		return l.r.Damage(l.name, b.off, fmt.Sprintf("a block of kind %d", body[0]))
	}
	give := l.r.load
	if body[0] == record.KindTail {
		give = l.r.apply
	}
	defer d.reset()
	var e record.Entry
	for body = body[1:]; len(body) > 0; {
		version, rest, ok := record.ParseVersioned(body, &e)
		if !ok {
			return l.r.Damage(l.name, b.off, "the block holds no valid entry where one should be")
		}
		d.entries = append(d.entries, e.MakeIn(&d.maker, version))
		body = rest
	}
	give(d.entries)
	l.r.entries.Add(int64(len(d.entries)))
	l.r.progress.done.Add(b.size)
	return nil
}

// trailer reads the trailer, at fr.Off.
func (l *loader) trailer(blocks uint64) (record.Trailer, error) {
	off := l.fr.Off
	body, err := l.fr.Next()
	if err == frame.ErrBad {
		return record.Trailer{}, l.r.Damage(l.name, off, "no valid block")
	}
	if err != nil {
		return record.Trailer{}, err
	}
	t, ok := record.ParseTrailer(body)
	switch {
	case !ok:
		return t, l.r.Damage(l.name, off, "the trailer is not valid")
	case t.Blocks != blocks:
		return t, l.r.Damage(l.name, off, fmt.Sprintf("the snapshot has %d blocks, and was written with %d", blocks, t.Blocks))
	case l.fr.Off != l.fr.End:
		return t, l.r.Damage(l.name, l.fr.Off, fmt.Sprintf("%d bytes follow the trailer", l.fr.End-l.fr.Off))
	}
	return t, nil
}
