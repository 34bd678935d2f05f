package vfs

import (
	"errors"
	"math"
	"os"
	"runtime"
	"syscall"
)

// Sync uses fdatasync: it makes the bytes durable and what is needed to find them, the length above all, but not the time
// of the last change.
//
// A system call that takes long holds the processor that Go's scheduler has given it, until the scheduler's monitor takes
// that away, some tens of microseconds later, and then looks fifty thousand times a second whether to do so again. Where
// there is but one, everything else waits meanwhile. So there the kernel is asked to sync on its own, and to tell: see
// syncer.
func (f osFile) Sync() error {
	fd := int(f.Fd())
	if runtime.GOMAXPROCS(0) == 1 {
		if done, err := syncers.sync(fd); done {
			return pathError("fdatasync", f.Name(), err)
		}
	}
	for {
		if err := syscall.Fdatasync(fd); err != syscall.EINTR {
			return pathError("fdatasync", f.Name(), err)
		}
	}
}

// Allocate is fallocate(2): blocks are taken at once, where a write to some file systems finds out later that there are none.
func (f osFile) Allocate(from, to int64) error {
	for {
		switch err := syscall.Fallocate(int(f.Fd()), 0, from, to-from); err {
		case syscall.EINTR:
		case syscall.EOPNOTSUPP, syscall.ENOSYS:
			return pathError("fallocate", f.Name(), errors.ErrUnsupported)
		default:
			return pathError("fallocate", f.Name(), err)
		}
	}
}

// Room is what statfs(2) says is left for users who are not root.
func (osFS) Room(dir string) (int64, error) {
	var st syscall.Statfs_t
	for {
		switch err := syscall.Statfs(dir, &st); err {
		case syscall.EINTR:
		case nil:
			size := uint64(max(st.Bsize, 1))
			return int64(min(st.Bavail, math.MaxInt64/size) * size), nil
		default:
			return 0, pathError("statfs", dir, err)
		}
	}
}

func (osFS) SyncsAside() bool { return runtime.GOMAXPROCS(0) > 1 || syncers.work() }

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: path, Err: err}
}
