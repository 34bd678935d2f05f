package wal

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"path/filepath"
	"slices"
	"strings"

	"kv/store/vfs"
)

const (
	lockName       = "LOCK"
	logPrefix      = "log-"
	snapshotPrefix = "snapshot-"
	tmpSuffix      = ".tmp"
)

func logName(seq uint64) string      { return fmt.Sprintf("%s%016x", logPrefix, seq) }
func snapshotName(seq uint64) string { return fmt.Sprintf("%s%016x", snapshotPrefix, seq) }

// folder is what a data folder holds, by name.
type folder struct {
	snapshots []uint64 // sequences, ascending
	logs      []uint64
	tmp       []string
	kept      []string // cut off, or replaced, by a start or a repair
	foreign   []string
}

func readFolder(fs vfs.FS, dir string) (folder, error) {
	names, err := fs.List(dir)
	if err != nil {
		return folder{}, fmt.Errorf("data folder %s: %w", dir, err)
	}
	var d folder
	for _, name := range names {
		seq, kind, rest := parseName(name)
		switch {
		case name == lockName:
		case kind == "":
			d.foreign = append(d.foreign, name)
		case rest == "" && kind == logPrefix:
			d.logs = append(d.logs, seq)
		case rest == "":
			d.snapshots = append(d.snapshots, seq)
		case rest == tmpSuffix:
			d.tmp = append(d.tmp, name)
		default:
			d.kept = append(d.kept, name)
		}
	}
	slices.Sort(d.logs)
	slices.Sort(d.snapshots)
	if len(d.logs)+len(d.snapshots)+len(d.tmp)+len(d.kept) == 0 && len(d.foreign) > 0 && !slices.Equal(d.foreign, []string{"lost+found"}) {
		return d, fmt.Errorf("data folder %s is not one: it holds %s, and nothing of a store; give an empty folder, or a new one", dir, d.foreign[0])
	}
	return d, nil
}

// lockFolder takes the lock of a folder that is there, and returns what it holds. One that is not a data folder is refused before
// anything is written to it.
func lockFolder(fs vfs.FS, dir string) (io.Closer, folder, error) {
	if _, err := readFolder(fs, dir); err != nil {
		return nil, folder{}, err
	}
	lock, err := fs.Lock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, folder{}, lockError(dir, err)
	}
	d, err := readFolder(fs, dir) // again, since only now nobody else changes it
	if err != nil {
		lock.Close()
		return nil, folder{}, err
	}
	return lock, d, nil
}

// lockToRead keeps others from writing to the folder until the Closer is closed, and writes nothing. A folder without a lock
// file is in nobody's use.
func lockToRead(fs vfs.FS, dir string) (io.Closer, error) {
	if _, err := readFolder(fs, dir); err != nil {
		return nil, err
	}
	lock, err := fs.LockShared(filepath.Join(dir, lockName))
	if errors.Is(err, iofs.ErrNotExist) {
		return io.NopCloser(nil), nil
	}
	if err != nil {
		return nil, lockError(dir, err)
	}
	return lock, nil
}

func lockError(dir string, err error) error {
	if errors.Is(err, vfs.ErrLocked) {
		return fmt.Errorf("data folder %s is in use by another process: %w", dir, err)
	}
	return fmt.Errorf("data folder %s: %w", dir, err)
}

// parseName takes the name of a store's file apart: its kind is logPrefix or snapshotPrefix, or empty for any other file.
func parseName(name string) (seq uint64, kind, rest string) {
	for _, kind := range []string{logPrefix, snapshotPrefix} {
		s, ok := strings.CutPrefix(name, kind)
		if !ok || len(s) < 16 {
			continue
		}
		var seq uint64
		for _, c := range []byte(s[:16]) {
			switch {
			case '0' <= c && c <= '9':
				seq = seq<<4 | uint64(c-'0')
			case 'a' <= c && c <= 'f':
				seq = seq<<4 | uint64(c-'a'+10)
			default:
				return 0, "", ""
			}
		}
		if seq == 0 { // they begin with 1
			return 0, "", ""
		}
		rest = s[16:]
		if rest == "" || rest == tmpSuffix || strings.HasPrefix(rest, ".torn-") || strings.HasPrefix(rest, ".damaged-") {
			return seq, kind, rest
		}
	}
	return 0, "", ""
}

// DamageError says that a file of a data folder is not what was written. [Repair] helps.
type DamageError struct {
	Dir    string
	File   string // a name in Dir
	Offset int64  // where in the file
	Detail string
}

// Error says what is damaged, and which command repairs it.
func (e *DamageError) Error() string {
	return fmt.Sprintf("%s is damaged at offset %d: %s; `kvd check %s` shows all that is wrong, `kvd repair %s` keeps a copy and saves what can be saved",
		filepath.Join(e.Dir, e.File), e.Offset, e.Detail, e.Dir, e.Dir)
}

// plan is what a recovery reads, in this order.
type plan struct {
	snapshot uint64   // its sequence; 0: there is none
	logs     []uint64 // consecutive
	stale    []string // files that a newer snapshot covers
}

// mostMissing is how many logs in a row may be missing. A file so far behind the others was never one of them.
const mostMissing = 1000

// plan finds out what a recovery reads. damaged is called for what is missing.
func (d folder) plan(damaged func(file string, off int64, detail string) error) (plan, error) {
	var p plan
	first := uint64(1)
	if n := len(d.snapshots); n > 0 {
		p.snapshot = d.snapshots[n-1]
		first = p.snapshot
		for _, seq := range d.snapshots[:n-1] {
			p.stale = append(p.stale, snapshotName(seq))
		}
	} else if len(d.logs) > 0 && d.logs[0] != first {
		first = d.logs[0]
		if err := damaged(snapshotName(first), 0, "the file is missing, or the logs before "+logName(first)+" are"); err != nil {
			return p, err
		}
	}
	for _, seq := range d.logs {
		if seq < first {
			p.stale = append(p.stale, logName(seq))
			continue
		}
		want := first + uint64(len(p.logs))
		if seq-want > mostMissing {
			return p, fmt.Errorf("%s is no file of this store: all from %s to it would be missing; move it out of the folder", logName(seq), logName(want))
		}
		for ; want < seq; want++ {
			if err := damaged(logName(want), 0, "the file is missing"); err != nil {
				return p, err
			}
			p.logs = append(p.logs, want)
		}
		p.logs = append(p.logs, seq)
	}
	if p.snapshot != 0 && len(p.logs) == 0 {
		if err := damaged(logName(first), 0, "the file is missing, though the snapshot is there"); err != nil {
			return p, err
		}
		p.logs = append(p.logs, first)
	}
	return p, nil
}

// doWithout takes the newest snapshot, which is damaged and by which p was made, out of d and returns true, if the files before it
// are still there: all that say the same, or, where nothing of the snapshot can be read, any.
func (d *folder) doWithout(s *inspected, p plan) bool {
	if len(p.stale) == 0 {
		return false
	}
	older := *d
	older.snapshots = d.snapshots[:len(d.snapshots)-1]
	complete := true
	_, err := older.plan(func(string, int64, string) error { complete = false; return nil })
	if err != nil || !complete && len(s.good) > 0 {
		return false
	}
	*d = older
	return true
}

// isFinal reports whether err, of openFrames, is not about the bytes of the file.
func isFinal(err error) bool {
	var io ioError
	return errors.Is(err, errNewer) || errors.As(err, &io)
}
