package vfstest

import (
	"io"
	"slices"
)

// memFile is an open file of a Mem. The methods are those of vfs.File.
type memFile struct {
	m    *Mem
	n    *inode
	name string
}

func (f *memFile) WriteAt(b []byte, off int64) (n int, err error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	at := int(off)
	n = len(b)
	if grows := int64(at + n - len(f.n.data)); f.m.room >= 0 && grows > 0 {
		if grows > f.m.room {
			n, err = max(0, n-int(grows-f.m.room)), pathError("write", f.name, errNoSpace)
			grows = f.m.room
		}
		f.m.room -= grows
	}
	if at < len(f.n.data) {
		f.n.own()
	} else if n > 0 {
		f.n.data = append(f.n.data, make([]byte, at-len(f.n.data))...)
	}
	if n > 0 {
		over := copy(f.n.data[at:], b[:n])
		f.n.data = append(f.n.data, b[over:n]...)
	}
	return n, err
}

func (f *memFile) Zero(from, to int64) error {
	_, err := f.WriteAt(make([]byte, to-from), from)
	return err
}

// Allocate takes all of the room that is needed, or none.
func (f *memFile) Allocate(from, to int64) error {
	f.m.mu.Lock()
	size := int64(len(f.n.data))
	short := f.m.room >= 0 && to-size > f.m.room
	f.m.mu.Unlock()
	switch {
	case short:
		return pathError("allocate", f.name, errNoSpace)
	case to <= size:
		return nil
	}
	return f.Zero(max(from, size), to)
}

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.n.data)), nil
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.m.room >= 0 {
		f.m.room += int64(len(f.n.data)) - size
	}
	f.n.own()
	f.n.data = f.n.data[:size]
	return nil
}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.n.synced, f.n.shared = slices.Clip(f.n.data), true
	if len(f.n.ghosts) > 0 {
		f.n.synced = slices.Clone(f.n.synced)
		for _, g := range f.n.ghosts {
			clear(f.n.synced[g[0]:g[1]])
		}
	}
	return nil
}

func (f *memFile) Close() error { return nil }
