// Package vfs is the little of a file system that durable storage needs, as an interface: so that tests can crash it, tear
// its writes, fill it up and fail it at any call. Package vfstest has the file systems that do so.
package vfs

import "io"

// FS is a file system. Names are paths, as the operating system writes them. Errors match those of package io/fs, and the
// errno behind them, with errors.Is. Only regular files are opened, made or locked: a symbolic link in the place of one is
// refused, not followed, and so are a folder, a FIFO and a device.
type FS interface {
	// Create makes an empty file, to be written and read; one that is there is emptied.
	Create(name string) (File, error)
	// Open opens a file that is there to be read.
	Open(name string) (File, error)
	// Truncate cuts a file that is there, and that nobody has open, to size bytes.
	Truncate(name string, size int64) error
	// Rename gives a file another name in the same folder, at one instant, in the place of any file that had it.
	Rename(from, to string) error
	// Remove removes a file, or an empty folder.
	Remove(name string) error
	// List returns the names of what the folder holds, without their paths, in order.
	List(dir string) ([]string, error)
	// MkdirAll makes a folder, and those above it, where they are missing.
	MkdirAll(dir string) error
	// SyncDir makes durable which files the folder holds: a file that was made, renamed or removed is so after a crash only
	// once this has returned.
	SyncDir(dir string) error
	// Room returns how many bytes the files of a folder may still grow by, together. An error that matches
	// errors.ErrUnsupported says that this system can't tell.
	Room(dir string) (int64, error)
	// SyncsAside reports whether other goroutines run while one waits for a Sync, even on a single processor.
	SyncsAside() bool
	// Lock takes a lock that no other process, and no other caller, holds, on a file that it makes where it is missing; it
	// does not wait: ErrLocked. It is held until the Closer is closed or the process ends.
	Lock(name string) (io.Closer, error)
	// LockShared takes a lock that Lock excludes and that others of its kind do not, and writes nothing: where the file is
	// missing, that is its error.
	LockShared(name string) (io.Closer, error)
}

// File is an open file. Only one goroutine at a time may use it, but for ReadAt.
type File interface {
	// WriterAt makes the file longer where it has to. After an error, and after a crash before Sync, any part of what was
	// written may be there.
	io.WriterAt
	// Zero writes zeros from one offset, at or before the end, to another. Where WriteAt then goes over them, Sync does not
	// have to make a new length durable as well, which takes a disk about as long again. After an error any part of the zeros
	// may be there.
	Zero(from, to int64) error
	// Allocate makes sure that WriteAt has the room to write up to the offset to. The file reaches to there then, and has zeros
	// where it had nothing. That costs less than Zero, and saves Sync nothing. An error that matches errors.ErrUnsupported
	// says that this file system can't tell.
	Allocate(from, to int64) error
	io.ReaderAt
	io.Closer
	// Size returns how many bytes the file has.
	Size() (int64, error)
	// Truncate cuts the file to size bytes.
	Truncate(size int64) error
	// Sync makes durable what the file holds. After an error nothing is known about what was written since the last Sync
	// that succeeded, whatever a later one says.
	Sync() error
}
