package files

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/windows"
)

// bothWays reports false: a stream that is closed is none here, and no null device stands for it.
func bothWays(*os.File) bool { return false }

func shares(f, other *os.File) bool { return false }

// duplicate fails: there are no names for open files.
func duplicate(_ int, name string) (*os.File, error) { return nil, syscall.EBADF }

// giveTo does nothing: a new file has its owner from its folder.
func giveTo(*os.File, fs.FileInfo) {}

// syncFolder does nothing: names are as safe as the file system makes them.
func syncFolder(string) error { return nil }

// lockFolder waits until no other process has the folder locked. The lock ends when the file is closed. A folder can't be
// locked itself here: a file in it is, which stays.
func lockFolder(dir string) (f *os.File, wait func() error, err error) {
	f, err = os.OpenFile(filepath.Join(dir, ".kv-lock"), os.O_RDWR|os.O_CREATE, 0o600)
	return f, func() error {
		return os.NewSyscallError("LockFileEx "+f.Name(),
			windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK, 0, 1, 0, new(windows.Overlapped)))
	}, err
}
