package vfs

import (
	"os"
	"syscall"
)

// Sync uses fdatasync: it makes the bytes durable and what is needed to find them, the length above all, but not the time
// of the last change.
func (f osFile) Sync() error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if err != syscall.EINTR {
			return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
	}
}
