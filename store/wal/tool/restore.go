package tool

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
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
var ErrNotWhole = errors.New("it is not a whole backup")

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

// RestoreFrom makes a data folder of a backup that is read once, from its start to its end: a file, a pipe. The folder must be
// empty, or missing. Until all of the backup was verified there is no store in the folder, and where it is not whole the folder is
// again as it was. The report says what the backup holds.
func RestoreFrom(fs vfs.FS, from io.Reader, dir string) (_ Report, err error) {
	in, err := openBackup(from)
	if err != nil {
		return Report{}, err
	}
	before, err := fs.List(dir)
	made := errors.Is(err, iofs.ErrNotExist)
	if err := fs.MkdirAll(dir); err != nil {
		return Report{}, fmt.Errorf("data folder %s: %w", dir, err)
	}
	lock, d, err := folder.Lock(fs, dir)
	if err != nil {
		return Report{}, err
	}
	defer lock.Close()
	if len(d.Logs)+len(d.Snapshots)+len(d.Kept) > 0 {
		return Report{}, fmt.Errorf("data folder %s holds a store already; give an empty folder, or a new one", dir)
	}
	// The log gets its name last: a snapshot without one is refused, a log without one would be an empty store.
	h := frame.Header{Magic: frame.MagicSnapshot, ID: folder.NewID(), Seq: 1, Base: 0}
	name := filepath.Join(dir, folder.SnapshotName(1))
	err = in.copyTo(fs, name+folder.TmpSuffix, h)
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
		return in.report, err
	}
	h.Magic = frame.MagicLog
	f, err := logfile.Create(logfile.Options{Dir: dir, FS: fs}, h, nil)
	if err != nil {
		return in.report, err
	}
	return in.report, f.Close()
}

// backupReader reads and verifies a backup.
type backupReader struct {
	r      *bufio.Reader
	seed   uint32
	off    int64
	body   bytes.Buffer
	report Report
}

// openBackup reads a backup's header.
func openBackup(from io.Reader) (*backupReader, error) {
	in := &backupReader{r: bufio.NewReaderSize(from, frame.ReadChunk), off: frame.HeaderSize}
	b := make([]byte, frame.HeaderSize)
	n, err := io.ReadFull(in.r, b)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	h, err := frame.ParseHeader(b[:n], frame.MagicSnapshot)
	switch {
	case errors.Is(err, frame.ErrNewer):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNotWhole, err)
	case h.Seq != 1:
		return nil, fmt.Errorf("%w, but a snapshot out of a data folder, which alone is not the state of one instant", ErrNotWhole)
	}
	in.seed = h.Seed()
	return in, nil
}

// bad is the error of a backup that is not what was written.
func (in *backupReader) bad(detail string) error {
	return fmt.Errorf("%w: offset %d: %s", ErrNotWhole, in.off, detail)
}

// next returns the body of the next frame, valid until the next call.
func (in *backupReader) next() ([]byte, error) {
	var head [frame.Overhead]byte
	if _, err := io.ReadFull(in.r, head[:]); err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, in.bad("it ends without its trailer")
	} else if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint64(head[4:])
	if n == 0 || n > 1<<62 {
		return nil, in.bad("no valid block")
	}
	// The memory grows with what is there, not with what is claimed.
	in.body.Reset()
	if m, err := io.CopyN(&in.body, in.r, int64(n)); err == io.EOF {
		return nil, in.bad(fmt.Sprintf("the block has %d bytes, and is to have %d", m, n))
	} else if err != nil {
		return nil, err
	}
	body := in.body.Bytes()
	if frame.Sum(in.seed, head[4:], body) != binary.BigEndian.Uint32(head[:]) {
		return nil, in.bad("no valid block")
	}
	return body, nil
}

// copyTo makes a file of the backup's frames, with another header, so that they are that file's; durably. The error may be that
// it is not a whole backup.
func (in *backupReader) copyTo(fs vfs.FS, name string, h frame.Header) (err error) {
	f, err := fs.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := io.NewOffsetWriter(f, 0)
	enc := frame.NewEncoder(h)
	enc.Header(h)
	rep := FileReport{Name: "backup"}
	for {
		body, err := in.next()
		if err != nil {
			return err
		}
		t, isTrailer := record.ParseTrailer(body)
		if !isTrailer {
			if body[0] != record.KindBlock && body[0] != record.KindTail {
				return in.bad(fmt.Sprintf("a block of kind %d", body[0]))
			}
			for b := body[1:]; len(b) > 0; rep.Entries++ {
				version, _, rest, ok := record.ParseVersioned(b)
				if !ok {
					return in.bad("the block holds no valid entry where one should be")
				}
				rep.see(version)
				b = rest
			}
			rep.Records++
		}
		enc.Frame(body)
		if err := enc.Flush(out); err != nil {
			return err
		}
		in.off += frame.Overhead + int64(len(body))
		if !isTrailer {
			continue
		}
		if t.Blocks != uint64(rep.Records) || t.Entries != uint64(rep.Entries) {
			return in.bad(fmt.Sprintf("it has %d blocks with %d entries, and was written with %d and %d", rep.Records, rep.Entries, t.Blocks, t.Entries))
		}
		if _, err := in.r.ReadByte(); err != io.EOF {
			return cmp.Or(err, in.bad("something follows the trailer"))
		}
		rep.Bytes = in.off
		in.report = Report{Files: []FileReport{rep}, Version: max(rep.Newest, t.Version)}
		return f.Sync()
	}
}
