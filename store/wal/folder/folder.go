// Package folder knows what a data folder holds by its names: the logs, the snapshots, what is left over of an
// unfinished one, and which of them a start reads. It locks a folder, and copies in it.
package folder

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"path/filepath"
	"slices"
	"strings"

	"kv/store/vfs"
	"kv/store/wal/frame"
)

const (
	// LockName is the file that is locked by the process that uses the folder.
	LockName = "LOCK"
	// TmpSuffix is what the names of unfinished files end with.
	TmpSuffix = ".tmp"

	logPrefix      = "log-"
	snapshotPrefix = "snapshot-"
)

// LogName returns the name of the log file with this sequence.
func LogName(seq uint64) string { return fmt.Sprintf("%s%016x", logPrefix, seq) }

// SnapshotName returns the name of the snapshot with this sequence.
func SnapshotName(seq uint64) string { return fmt.Sprintf("%s%016x", snapshotPrefix, seq) }

// Folder is what a data folder holds, by name.
type Folder struct {
	Snapshots []uint64 // sequences, ascending
	Logs      []uint64
	Tmp       []string
	Kept      []string // cut off, or replaced, by a start or a repair
	Foreign   []string
}

// Read returns what dir holds. A folder that holds files and none of a store is an error.
func Read(fs vfs.FS, dir string) (Folder, error) {
	names, err := fs.List(dir)
	if err != nil {
		return Folder{}, fmt.Errorf("data folder %s: %w", dir, err)
	}
	var d Folder
	for _, name := range names {
		seq, kind, rest := parseName(name)
		switch {
		case name == LockName:
		case kind == "":
			d.Foreign = append(d.Foreign, name)
		case rest == "" && kind == logPrefix:
			d.Logs = append(d.Logs, seq)
		case rest == "":
			d.Snapshots = append(d.Snapshots, seq)
		case rest == TmpSuffix:
			d.Tmp = append(d.Tmp, name)
		default:
			d.Kept = append(d.Kept, name)
		}
	}
	slices.Sort(d.Logs)
	slices.Sort(d.Snapshots)
	if len(d.Logs)+len(d.Snapshots)+len(d.Tmp)+len(d.Kept) == 0 && len(d.Foreign) > 0 && !slices.Equal(d.Foreign, []string{"lost+found"}) {
		return d, fmt.Errorf("data folder %s is not one: it holds %s, and nothing of a store; give an empty folder, or a new one", dir, d.Foreign[0])
	}
	return d, nil
}

// Lock takes the lock of a folder that is there, and returns what it holds. One that is not a data folder, or that of a
// node of a cluster, is refused before anything is written to it.
func Lock(fs vfs.FS, dir string) (io.Closer, Folder, error) {
	return lock(fs, dir, func(d Folder) error { return d.belongs(fs, dir, false) })
}

// LockReplica is Lock for the folder of a node of a cluster: one of a store that is alone is refused.
func LockReplica(fs vfs.FS, dir string) (io.Closer, Folder, error) {
	return lock(fs, dir, func(d Folder) error { return d.belongs(fs, dir, true) })
}

// LockAny is Lock for a folder of either kind, or an empty one.
func LockAny(fs vfs.FS, dir string) (io.Closer, Folder, error) {
	return lock(fs, dir, func(Folder) error { return nil })
}

func lock(fs vfs.FS, dir string, check func(Folder) error) (io.Closer, Folder, error) {
	before, err := Read(fs, dir)
	if err == nil {
		err = check(before)
	}
	if err != nil {
		return nil, Folder{}, err
	}
	lock, err := fs.Lock(filepath.Join(dir, LockName))
	if err != nil {
		return nil, Folder{}, lockError(dir, err)
	}
	d, err := Read(fs, dir) // again, since only now nobody else changes it
	if err != nil {
		lock.Close()
		return nil, Folder{}, err
	}
	return lock, d, nil
}

// LockToRead keeps others from writing to the folder until the Closer is closed, and writes nothing. A folder without a lock
// file is in nobody's use. That of a node of a cluster is refused.
func LockToRead(fs vfs.FS, dir string) (io.Closer, error) { return lockToRead(fs, dir, false) }

// LockReplicaToRead is LockToRead for the folder of a node of a cluster: one of a store that is alone is refused.
func LockReplicaToRead(fs vfs.FS, dir string) (io.Closer, error) { return lockToRead(fs, dir, true) }

func lockToRead(fs vfs.FS, dir string, replica bool) (io.Closer, error) {
	d, err := Read(fs, dir)
	if err == nil {
		err = d.belongs(fs, dir, replica)
	}
	if err != nil {
		return nil, err
	}
	lock, err := fs.LockShared(filepath.Join(dir, LockName))
	if errors.Is(err, iofs.ErrNotExist) {
		return io.NopCloser(nil), nil
	}
	if err != nil {
		return nil, lockError(dir, err)
	}
	return lock, nil
}

// IsReplica reports whether a folder is that of a node of a cluster.
func IsReplica(fs vfs.FS, dir string) (bool, error) {
	d, err := Read(fs, dir)
	if err != nil {
		return false, err
	}
	magic, err := d.magic(fs, dir)
	return ofReplica(magic) || ofEarlyReplica(magic), err
}

func ofReplica(magic string) bool {
	return magic == frame.MagicReplicaLog || magic == frame.MagicReplicaSnapshot
}

func ofEarlyReplica(magic string) bool {
	return magic == frame.MagicEarlyLog || magic == frame.MagicEarlySnapshot
}

// belongs says what is wrong where the folder is that of a node of a cluster and is not to be, or is not and is to be.
func (d Folder) belongs(fs vfs.FS, dir string, replica bool) error {
	magic, err := d.magic(fs, dir)
	switch {
	case err != nil:
		return err
	case ofEarlyReplica(magic):
		return fmt.Errorf("data folder %s is that of a node of a cluster, written by a kvd from before 0.1.0, and can't be read: have that kvd make a backup of the cluster, and restore it with `kvd restore --new-cluster`", dir)
	case !replica && ofReplica(magic):
		return fmt.Errorf("data folder %s is that of a node of a cluster: it can be used with --peers, and seen with `kvd cluster show`", dir)
	case replica && (magic == frame.MagicLog || magic == frame.MagicSnapshot):
		return fmt.Errorf("data folder %s is that of a server that is alone, and no cluster's: make the folder of a cluster's first node of a backup of it, with `kvd restore --new-cluster`", dir)
	}
	return nil
}

// magic returns what the folder's first file begins with that has one of a store's: it tells which kind of store. Where
// all are damaged, nothing does, and who reads on will say so.
func (d Folder) magic(fs vfs.FS, dir string) (string, error) {
	var names []string
	for _, seq := range d.Logs {
		names = append(names, LogName(seq))
	}
	for _, seq := range d.Snapshots {
		names = append(names, SnapshotName(seq))
	}
	for _, name := range names {
		f, err := fs.Open(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		var b [6]byte
		_, err = f.ReadAt(b[:], 0)
		f.Close()
		if err != nil {
			continue
		}
		switch m := string(b[:]); m {
		case frame.MagicReplicaLog, frame.MagicReplicaSnapshot, frame.MagicEarlyLog, frame.MagicEarlySnapshot, frame.MagicLog, frame.MagicSnapshot:
			return m, nil
		}
	}
	return "", nil
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
		if rest == "" || rest == TmpSuffix || strings.HasPrefix(rest, ".torn-") || strings.HasPrefix(rest, ".damaged-") {
			return seq, kind, rest
		}
	}
	return 0, "", ""
}

// Plan is what a recovery reads, in this order.
type Plan struct {
	Snapshot uint64   // its sequence; 0: there is none
	Logs     []uint64 // consecutive
	Stale    []string // files that a newer snapshot covers
}

// mostMissing is how many logs in a row may be missing. A file so far behind the others was never one of them.
const mostMissing = 1000

// Plan finds out what a recovery reads. damaged is called for what is missing.
func (d Folder) Plan(damaged func(file string, off int64, detail string) error) (Plan, error) {
	var p Plan
	first := uint64(1)
	if n := len(d.Snapshots); n > 0 {
		p.Snapshot = d.Snapshots[n-1]
		first = p.Snapshot
		for _, seq := range d.Snapshots[:n-1] {
			p.Stale = append(p.Stale, SnapshotName(seq))
		}
	} else if len(d.Logs) > 0 && d.Logs[0] != first {
		first = d.Logs[0]
		if err := damaged(SnapshotName(first), 0, "the file is missing, or the logs before "+LogName(first)+" are"); err != nil {
			return p, err
		}
	}
	for _, seq := range d.Logs {
		if seq < first {
			p.Stale = append(p.Stale, LogName(seq))
			continue
		}
		want := first + uint64(len(p.Logs))
		if seq-want > mostMissing {
			return p, fmt.Errorf("%s is no file of this store: all from %s to it would be missing; move it out of the folder", LogName(seq), LogName(want))
		}
		for ; want < seq; want++ {
			if err := damaged(LogName(want), 0, "the file is missing"); err != nil {
				return p, err
			}
			p.Logs = append(p.Logs, want)
		}
		p.Logs = append(p.Logs, seq)
	}
	if p.Snapshot != 0 && len(p.Logs) == 0 {
		if err := damaged(LogName(first), 0, "the file is missing, though the snapshot is there"); err != nil {
			return p, err
		}
		p.Logs = append(p.Logs, first)
	}
	return p, nil
}
