package vfstest

import (
	"io"
	"sync/atomic"
	"syscall"

	"kv/store/vfs"
)

const errNoSpace = syscall.ENOSPC

// Inject is a file system that counts the calls that change another one, and can fail any of them. Its fields are set before it
// is used.
type Inject struct {
	FS vfs.FS
	// Before is called before each such call, with its number, counted from 1, what it does ("write", "zero",
	// "allocate", "sync", "create", "rename", "remove", "syncdir", "truncate", "mkdir") and to what. A file has the
	// name that it was made with. If it returns an error, that is the call's, and nothing is done; but a write does
	// half of its work first. It may be called by several goroutines at a time.
	Before func(n int64, op, name string) error

	calls atomic.Int64
}

var _ vfs.FS = (*Inject)(nil)

// Calls returns how many calls there were.
func (i *Inject) Calls() int64 { return i.calls.Load() }

func (i *Inject) before(op, name string) error {
	n := i.calls.Add(1)
	if i.Before == nil {
		return nil
	}
	if err := i.Before(n, op, name); err != nil {
		return pathError(op, name, err)
	}
	return nil
}

// Create is part of vfs.FS.
func (i *Inject) Create(name string) (vfs.File, error) {
	if err := i.before("create", name); err != nil {
		return nil, err
	}
	f, err := i.FS.Create(name)
	if err != nil {
		return nil, err
	}
	return &injectFile{f, i, name}, nil
}

// Open is part of vfs.FS.
func (i *Inject) Open(name string) (vfs.File, error) { return i.FS.Open(name) }

// Truncate is part of vfs.FS.
func (i *Inject) Truncate(name string, size int64) error {
	if err := i.before("truncate", name); err != nil {
		return err
	}
	return i.FS.Truncate(name, size)
}

// Rename is part of vfs.FS.
func (i *Inject) Rename(from, to string) error {
	if err := i.before("rename", from); err != nil {
		return err
	}
	return i.FS.Rename(from, to)
}

// Remove is part of vfs.FS.
func (i *Inject) Remove(name string) error {
	if err := i.before("remove", name); err != nil {
		return err
	}
	return i.FS.Remove(name)
}

// List is part of vfs.FS.
func (i *Inject) List(dir string) ([]string, error) { return i.FS.List(dir) }

// MkdirAll is part of vfs.FS.
func (i *Inject) MkdirAll(dir string) error {
	if err := i.before("mkdir", dir); err != nil {
		return err
	}
	return i.FS.MkdirAll(dir)
}

// SyncDir is part of vfs.FS.
func (i *Inject) SyncDir(dir string) error {
	if err := i.before("syncdir", dir); err != nil {
		return err
	}
	return i.FS.SyncDir(dir)
}

// Room is part of vfs.FS.
func (i *Inject) Room(dir string) (int64, error) { return i.FS.Room(dir) }

// SyncsAside is part of vfs.FS.
func (i *Inject) SyncsAside() bool { return i.FS.SyncsAside() }

// Lock is part of vfs.FS.
func (i *Inject) Lock(name string) (io.Closer, error) { return i.FS.Lock(name) }

// LockShared is part of vfs.FS.
func (i *Inject) LockShared(name string) (io.Closer, error) { return i.FS.LockShared(name) }

type injectFile struct {
	vfs.File
	i    *Inject
	name string
}

func (f *injectFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.i.before("write", f.name); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], off)
		return n, err
	}
	return f.File.WriteAt(b, off)
}

func (f *injectFile) Allocate(from, to int64) error {
	if err := f.i.before("allocate", f.name); err != nil {
		return err
	}
	return f.File.Allocate(from, to)
}

func (f *injectFile) Zero(from, to int64) error {
	if err := f.i.before("zero", f.name); err != nil {
		f.File.Zero(from, from+(to-from)/2)
		return err
	}
	return f.File.Zero(from, to)
}

func (f *injectFile) Truncate(size int64) error {
	if err := f.i.before("truncate", f.name); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *injectFile) Sync() error {
	if err := f.i.before("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}
