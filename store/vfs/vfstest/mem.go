// Package vfstest has file systems for tests: one in memory that can crash, and one that fails at a call of choice.
package vfstest

import (
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"kv/store/vfs"
)

// Mem is a file system in memory that remembers what was synced, so that Crash can make another one of it that holds what
// a machine might find on its disk after losing power. It is as bad as a disk may be: of what was not synced, any block may
// be there or not, and so may any change of a folder.
type Mem struct {
	mu    sync.Mutex
	files map[string]*inode // by path
	names map[string]*inode // what a crash is sure to find: the files as of their folder's last SyncDir
	dirs  map[string]bool
	locks map[string]int // how many hold a shared lock; -1: one holds the lock alone
	room  int64          // bytes that files may still grow by; below 0: no limit
}

// NewMem returns an empty file system, without a limit to its size.
func NewMem() *Mem {
	return &Mem{
		files: map[string]*inode{}, names: map[string]*inode{}, dirs: map[string]bool{"/": true, ".": true},
		locks: map[string]int{}, room: -1,
	}
}

var _ vfs.FS = (*Mem)(nil)

// Crash returns what is left after a crash now. Each block of a file that was not synced, and each name that was made,
// changed or removed since its folder was synced, is found in its new state with a probability of percent in a hundred,
// else in its old one; with a percentage between, the last block may be torn anywhere. rng is used only with a
// percentage between 0 and 100.
func (m *Mem) Crash(percent int, rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	keep := func() bool { return percent == 100 || percent > 0 && rng.IntN(100) < percent }
	c := NewMem()
	for dir := range m.dirs {
		c.dirs[dir] = true
	}
	names := map[string]bool{}
	for name := range m.files {
		names[name] = true
	}
	for name := range m.names {
		names[name] = true
	}
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted) // so that the same seed has the same outcome
	crashed := map[*inode]*inode{}
	for _, name := range sorted {
		node := m.names[name]
		if now := m.files[name]; now != node && keep() {
			node = now
		}
		if node == nil {
			continue
		}
		if crashed[node] == nil {
			data := node.crash(percent, rng, keep)
			crashed[node] = &inode{data: data, synced: data, shared: true}
		}
		c.files[name], c.names[name] = crashed[node], crashed[node]
	}
	return c
}

// SetRoom says how many bytes the files may still grow by; then writes fail with ENOSPC. Below 0: no limit.
func (m *Mem) SetRoom(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.room = n
}

// freed gives back the room of a file that goes. Called with mu held.
func (m *Mem) freed(n *inode) {
	if m.room >= 0 && n != nil {
		m.room += int64(len(n.data))
	}
}

// Room is part of vfs.FS.
func (m *Mem) Room(string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.room < 0 {
		return math.MaxInt64, nil
	}
	return m.room, nil
}

// Snapshot returns what all files hold, by path.
func (m *Mem) Snapshot() map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string][]byte, len(m.files))
	for name, n := range m.files {
		all[name] = slices.Clone(n.data)
	}
	return all
}

// WriteFile makes a file of these bytes, durably.
func (m *Mem) WriteFile(name string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data = slices.Clone(data)
	n := &inode{data: data, synced: data, shared: true}
	m.files[name], m.names[name] = n, n
	m.dirs[filepath.Dir(name)] = true
}

// FailSync has the outcome of a sync that failed, of a file: reads go on to show all that was written, but what was not on disk
// by now never will be, and a later Sync says nothing of that.
func (m *Mem) FailSync(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.files[name]
	same := 0
	for same < len(n.synced) && n.synced[same] == n.data[same] {
		same++
	}
	n.ghosts = append(n.ghosts, [2]int{same, len(n.data)})
}

func pathError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// Create is part of vfs.FS.
func (m *Mem) Create(name string) (vfs.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirs[filepath.Dir(name)] {
		return nil, pathError("create", name, fs.ErrNotExist)
	}
	n := m.files[name]
	if n == nil {
		n = &inode{}
		m.files[name] = n
	}
	m.freed(n)
	n.data, n.ghosts, n.shared = nil, nil, false
	return &memFile{m, n, name}, nil
}

// Open is part of vfs.FS.
func (m *Mem) Open(name string) (vfs.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.files[name]
	if n == nil {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	return &memFile{m, n, name}, nil
}

// Truncate is part of vfs.FS.
func (m *Mem) Truncate(name string, size int64) error {
	f, err := m.Open(name)
	if err != nil {
		return err
	}
	return f.Truncate(size)
}

// Rename is part of vfs.FS.
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.files[from]
	if n == nil {
		return pathError("rename", from, fs.ErrNotExist)
	}
	if filepath.Dir(from) != filepath.Dir(to) {
		return pathError("rename", from, fmt.Errorf("to another folder: %s", to))
	}
	delete(m.files, from)
	m.freed(m.files[to])
	m.files[to] = n
	return nil
}

// Remove is part of vfs.FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dirs[name] {
		for other := range m.files {
			if filepath.Dir(other) == name {
				return pathError("remove", name, syscall.ENOTEMPTY)
			}
		}
		delete(m.dirs, name)
		return nil
	}
	if m.files[name] == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	m.freed(m.files[name])
	delete(m.files, name)
	return nil
}

// List is part of vfs.FS.
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = filepath.Clean(dir)
	if !m.dirs[dir] {
		return nil, pathError("list", dir, fs.ErrNotExist)
	}
	var names []string
	for name := range m.files {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// MkdirAll is part of vfs.FS. Folders are durable at once.
func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for dir = filepath.Clean(dir); !m.dirs[dir]; dir = filepath.Dir(dir) {
		m.dirs[dir] = true
	}
	return nil
}

// SyncDir is part of vfs.FS.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = filepath.Clean(dir)
	for name := range m.names {
		if filepath.Dir(name) == dir && m.files[name] == nil {
			delete(m.names, name)
		}
	}
	for name, n := range m.files {
		if filepath.Dir(name) == dir {
			m.names[name] = n
		}
	}
	return nil
}

// SyncsAside is part of vfs.FS.
func (m *Mem) SyncsAside() bool { return false }

// Lock is part of vfs.FS. A file system that Crash returned has no locks.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[name] != 0 {
		return nil, pathError("lock", name, vfs.ErrLocked)
	}
	m.locks[name] = -1
	if m.files[name] == nil {
		m.files[name] = &inode{}
	}
	return unlocker{m, name}, nil
}

// LockShared is part of vfs.FS.
func (m *Mem) LockShared(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.files[name] == nil:
		return nil, pathError("lock", name, fs.ErrNotExist)
	case m.locks[name] < 0:
		return nil, pathError("lock", name, vfs.ErrLocked)
	}
	m.locks[name]++
	return unlocker{m, name}, nil
}

type unlocker struct {
	m    *Mem
	name string
}

func (u unlocker) Close() error {
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	u.m.locks[u.name] = max(u.m.locks[u.name], 1) - 1
	return nil
}
