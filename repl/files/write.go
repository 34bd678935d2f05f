// Package files reads, writes and locks the files that a user names, without harm to what is there under these names, and tells
// which of a program's standard streams were closed when it began.
package files

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Write makes the file name hold what write writes. A symbolic link is followed, whether there is something at its end or
// not. What else there is under the name decides:
//
//   - A regular file, or nothing: the file appears when all of it is written and on the disk. After an error what was there
//     before is there still. The mode and, where that is allowed, the owner of the file before are kept; a new one has perm.
//   - A device, a FIFO, a socket, or an open file of this process (/dev/stdout, /dev/fd/N): it is written to, and stays what
//     it is. After an error what was written by then is in it. A FIFO is waited for until it has a reader.
//
// The error of a name that can't be written to is a *[NameError]; any other is of the writing itself, or ctx's.
func Write(ctx context.Context, name string, perm fs.FileMode, write func(io.Writer) error) error {
	t, err := resolve(name)
	if err != nil {
		return &NameError{err}
	}
	if t.regular() {
		return t.replace(perm, write)
	}
	out, err := t.open(ctx, os.O_WRONLY)
	if err != nil {
		return err
	}
	defer out.Close()
	if d, ok := out.(interface{ SetWriteDeadline(time.Time) error }); ok { // a reader that stands still
		stop := context.AfterFunc(ctx, func() { d.SetWriteDeadline(time.Unix(1, 0)) })
		defer stop()
	}
	err = write(out)
	if err == nil {
		err = out.Close()
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return err
}

// Open opens a file to be read, as os.Open does. One that is open already (/dev/stdin, /dev/fd/N) is read from where it
// stands, and a FIFO is waited for until it has a writer. The error is a *[NameError], or ctx's.
func Open(ctx context.Context, name string) (io.ReadCloser, error) {
	t, err := resolve(name)
	if err != nil {
		return nil, &NameError{err}
	}
	return t.open(ctx, os.O_RDONLY)
}

// NameError is the error of a file that can't be made or opened.
type NameError struct{ err error }

func (e *NameError) Error() string { return e.err.Error() }
func (e *NameError) Unwrap() error { return e.err }

// target is what a name leads to.
type target struct {
	name       string
	info       fs.FileInfo // nil: nothing is there
	descriptor int         // of the file, where it is open already; -1: it is not
}

const maxLinks = 40 // as Linux has it

// resolve follows the links that name leads through.
func resolve(name string) (target, error) {
	if name == "" {
		return target{}, &fs.PathError{Op: "open", Path: `""`, Err: syscall.ENOENT}
	}
	for range maxLinks {
		dir, base := filepath.Split(name) // nothing is cleaned: what .. leads to depends on the links before it
		dir, err := filepath.EvalSymlinks(cmp.Or(dir, "."))
		if err != nil { // which does not always say of what
			return target{}, &fs.PathError{Op: "open", Path: name, Err: cause(err)}
		}
		if fd, err := strconv.Atoi(base); err == nil && isDescriptors(dir) {
			return target{name: name, descriptor: fd}, nil
		}
		info, err := os.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return target{name: name, descriptor: -1}, nil
		case err != nil:
			return target{}, err
		case info.IsDir():
			return target{}, &fs.PathError{Op: "open", Path: name, Err: syscall.EISDIR}
		case info.Mode()&fs.ModeSymlink == 0:
			return target{name: name, info: info, descriptor: -1}, nil
		}
		to, err := os.Readlink(name)
		if err != nil {
			return target{}, err
		}
		if !filepath.IsAbs(to) {
			to = dir + string(filepath.Separator) + to
		}
		name = to
	}
	return target{}, &fs.PathError{Op: "open", Path: name, Err: syscall.ELOOP}
}

// cause is err without the name that it may give of a part of the way.
func cause(err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}

// isDescriptors reports whether the entries of a folder are the open files of this process.
func isDescriptors(dir string) bool {
	proc := fmt.Sprintf("/proc/%d/", os.Getpid())
	thread, _ := filepath.Match(proc+"task/*/fd", dir)
	return dir == proc+"fd" || thread || dir == "/dev/fd"
}

func (t target) regular() bool {
	return t.descriptor < 0 && (t.info == nil || t.info.Mode().IsRegular())
}

// open opens the file to be read or written; what is open already is as it is.
func (t target) open(ctx context.Context, flag int) (io.ReadWriteCloser, error) {
	if t.descriptor >= 0 {
		if t.descriptor < len(standard) && Closed(standard[t.descriptor]) {
			return nil, &NameError{&fs.PathError{Op: "open", Path: t.name, Err: syscall.EBADF}}
		}
		f, err := duplicate(t.descriptor, t.name)
		if err != nil {
			return nil, &NameError{&fs.PathError{Op: "open", Path: t.name, Err: err}}
		}
		return f, nil
	}
	if t.info != nil && t.info.Mode()&fs.ModeSocket != 0 {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", t.name)
		if err != nil {
			return nil, &NameError{err}
		}
		return conn, nil
	}
	type opened struct {
		f   *os.File
		err error
	}
	ready := make(chan opened)
	go func() { // opening a FIFO waits until somebody opens its other end
		f, err := os.OpenFile(t.name, flag, 0)
		select {
		case ready <- opened{f, err}:
		case <-ctx.Done():
			f.Close()
		}
	}()
	select {
	case o := <-ready:
		if o.err != nil {
			return nil, &NameError{o.err}
		}
		return o.f, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// replace writes a new file beside the existing one, and renames the new one to the name once it is whole.
func (t target) replace(perm fs.FileMode, write func(io.Writer) error) (err error) {
	if t.info != nil { // the name may be ours to give away when the file is not ours to change
		old, err := os.OpenFile(t.name, os.O_WRONLY, 0)
		if err != nil {
			return &NameError{err}
		}
		old.Close()
		perm = t.info.Mode().Perm()
	}
	dir, _ := filepath.Split(t.name)
	dir = cmp.Or(dir, ".")
	f, err := os.CreateTemp(dir, ".kv-*.partial") // 0600
	if err != nil {
		return &NameError{&fs.PathError{Op: "open", Path: t.name, Err: cause(err)}}
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		if path := (*fs.PathError)(nil); errors.As(err, &path) && path.Path == f.Name() {
			path.Path = t.name // which the user knows
		}
		return err
	}
	if t.info != nil {
		giveTo(f, t.info)
	}
	if err := f.Chmod(perm); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), t.name); err != nil {
		return &NameError{err}
	}
	return syncFolder(dir)
}
