//go:build unix

package files

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// bothWays reports whether a file was opened for reading and writing.
func bothWays(f *os.File) bool {
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_ACCMODE == unix.O_RDWR
}

// shares reports whether two descriptors are of one opening of a file: a flag that is set by one is seen by the other. f is
// /dev/null, for which that flag means nothing.
func shares(f, other *os.File) bool {
	flags := func(f *os.File) int {
		n, _ := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
		return n
	}
	own, others := flags(f), flags(other)
	unix.FcntlInt(f.Fd(), unix.F_SETFL, own^unix.O_APPEND)
	defer unix.FcntlInt(f.Fd(), unix.F_SETFL, own)
	return flags(other) != others
}

// duplicate opens what is open as a descriptor once more.
func duplicate(descriptor int, name string) (*os.File, error) {
	fd, err := syscall.Dup(descriptor)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// giveTo gives a file to the owner of another, where that is allowed.
func giveTo(f *os.File, of fs.FileInfo) {
	if was, ok := of.Sys().(*syscall.Stat_t); ok {
		f.Chown(int(was.Uid), int(was.Gid)) // only root may, and need not: the mode keeps its meaning for everyone else
	}
}

// syncFolder has a folder's names be on the disk.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return &NameError{err}
	}
	defer d.Close()
	return d.Sync()
}

// lockFolder waits until no other process has the folder locked. The lock ends when the file is closed.
func lockFolder(dir string) (f *os.File, wait func() error, err error) {
	f, err = os.Open(dir)
	return f, func() error {
		for {
			err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
			if !errors.Is(err, syscall.EINTR) {
				return os.NewSyscallError("flock "+f.Name(), err)
			}
		}
	}, err
}
