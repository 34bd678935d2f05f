package tool

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"path/filepath"
	"slices"

	"kv/store/vfs"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/logfile"
	"kv/store/wal/record"
)

// ErrNotWhole is the error of a backup that is not what was written, or is none.
var ErrNotWhole = errors.New("not a whole backup")

// Restore makes a data folder of a backup, a file of fs: see RestoreFrom.
func Restore(fs vfs.FS, file, dir string) (Report, error) {
	f, err := fs.Open(file)
	if err != nil {
		return Report{}, err
	}
	defer f.Close()
	report, err := RestoreFrom(fs, io.NewSectionReader(f, 0, 1<<62), dir)
	if err != nil {
		return report, fmt.Errorf("restore %s: %w", file, err)
	}
	return report, nil
}

// RestoreFrom makes a data folder of a backup that is read once, from its start to its end: a file, a pipe. The folder
// must be empty, or missing. Until all of the backup was verified there is no store in the folder, and where it is not
// whole the folder is again as it was. The report says what the backup holds.
func RestoreFrom(fs vfs.FS, from io.Reader, dir string) (Report, error) {
	h := frame.Header{Magic: frame.MagicSnapshot, ID: folder.NewID(), Seq: 1, Base: 0}
	return RestoreAs(fs, from, dir, Form{
		Header: h,
		End: func(out *record.SnapshotWriter, at record.Point) error {
			return out.Finish(record.Point{Version: at.Version})
		},
		Log: func() error {
			h.Magic = frame.MagicLog
			f, err := logfile.Create(logfile.Options{Dir: dir, FS: fs}, h, nil)
			if err != nil {
				return err
			}
			return f.Close()
		},
	})
}

// Form is what a backup becomes in a folder.
type Form struct {
	Header frame.Header // of the snapshot, which is number 1
	// End writes what comes behind the backup's blocks and tails, the trailer at least. at is of when the backup is.
	End func(out *record.SnapshotWriter, at record.Point) error
	// Log makes the log. The snapshot is durable then.
	Log func() error
}

// RestoreAs is RestoreFrom for a folder of any form.
func RestoreAs(fs vfs.FS, from io.Reader, dir string, form Form) (_ Report, err error) {
	in, err := openBackup(from)
	if err != nil {
		return Report{}, err
	}
	before, err := fs.List(dir)
	made := errors.Is(err, iofs.ErrNotExist)
	if err := fs.MkdirAll(dir); err != nil {
		return Report{}, fmt.Errorf("data folder %s: %w", dir, err)
	}
	lock, d, err := folder.LockAny(fs, dir)
	if err != nil {
		return Report{}, err
	}
	defer lock.Close()
	if len(d.Logs)+len(d.Snapshots)+len(d.Kept) > 0 {
		return Report{}, fmt.Errorf("data folder %s holds a store already; give an empty folder, or a new one", dir)
	}
	// The log gets its name last: a snapshot without one is refused, a log without one would be an empty store.
	name := filepath.Join(dir, folder.SnapshotName(1))
	report, err := copyTo(fs, name+folder.TmpSuffix, form, in)
	if err == nil {
		err = fs.Rename(name+folder.TmpSuffix, name)
	}
	if err != nil {
		undo := []string{name + folder.TmpSuffix}
		if !slices.Contains(before, folder.LockName) {
			undo = append(undo, filepath.Join(dir, folder.LockName))
		}
		if made {
			undo = append(undo, dir)
		}
		for _, name := range undo {
			if e := fs.Remove(name); e != nil && !errors.Is(e, iofs.ErrNotExist) {
				return Report{}, errors.Join(err, e)
			}
		}
		return Report{}, err
	}
	if err := fs.SyncDir(dir); err != nil {
		return report, err
	}
	return report, form.Log()
}

// openBackup reads a backup's header.
func openBackup(from io.Reader) (*record.SnapshotReader, error) {
	in, h, err := record.OpenSnapshot(from)
	switch {
	case err != nil:
		return nil, notWhole(err)
	case h.Seq != 1:
		return nil, fmt.Errorf("%w, but a snapshot out of a data folder, which alone is not the state of one instant", ErrNotWhole)
	}
	return in, nil
}

// notWhole says of an error that it is about the bytes of a backup, if it is.
func notWhole(err error) error {
	if errors.As(err, new(*record.BadSnapshotError)) {
		return fmt.Errorf("%w: %w", ErrNotWhole, err)
	}
	return err
}

// copyTo makes a file of the backup's frames, with another header, so that they are that file's; durably. The error may be that
// it is not a whole backup.
func copyTo(fs vfs.FS, name string, form Form, in *record.SnapshotReader) (_ Report, err error) {
	f, err := fs.Create(name)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := record.NewSnapshotWriter(io.NewOffsetWriter(f, 0), form.Header)
	rep := FileReport{Name: "backup"}
	for {
		body, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return Report{}, notWhole(err)
		}
		entries := uint64(0)
		record.Each(body, func(version uint64, _ *record.Entry) { rep.see(version); entries++ })
		rep.Entries += int64(entries)
		rep.Records++
		if err := out.AddBlock(body, entries); err != nil {
			return Report{}, err
		}
	}
	if err := in.AtEnd(); err != nil {
		return Report{}, notWhole(err)
	}
	if err := form.End(out, in.Trailer().Point); err != nil {
		return Report{}, err
	}
	rep.Bytes = in.Size()
	return Report{Files: []FileReport{rep}, Version: in.Trailer().Version}, f.Sync()
}
