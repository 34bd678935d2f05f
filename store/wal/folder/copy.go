package folder

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"kv/store/vfs"
)

// CopyRange makes a file of the bytes from..to of another, durably: whole, or not at all.
func CopyRange(fs vfs.FS, src, dst string, from, to int64) error {
	in, err := fs.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	tmp := src + TmpSuffix
	out, err := fs.Create(tmp)
	if err != nil {
		return err
	}
	if err = CopyInto(io.NewOffsetWriter(out, 0), in, from, to); err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = fs.Rename(tmp, dst)
	}
	if err != nil {
		fs.Remove(tmp) // the next start removes it, if this does not
		return fmt.Errorf("copy %s to %s: %w", src, dst, err)
	}
	return fs.SyncDir(filepath.Dir(dst))
}

// CopyInto writes the bytes from..to of r to w.
func CopyInto(w io.Writer, r io.ReaderAt, from, to int64) error {
	n, err := io.Copy(w, io.NewSectionReader(r, from, to-from))
	if err == nil && n < to-from {
		err = io.ErrUnexpectedEOF
	}
	return err
}
