package cluster

import (
	"errors"
	"fmt"
	"path/filepath"

	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/logfile"
)

// LostError says that the log has lost entries which this node may have acknowledged to others.
type LostError struct{ Damage *folder.DamageError }

func (e *LostError) Error() string {
	d := e.Damage
	return fmt.Sprintf("%s is damaged at offset %d: %s; this node may have told others that it has what is lost, and must not vote any more: "+
		"remove the folder, and let the node join anew", filepath.Join(d.Dir, d.File), d.Offset, d.Detail)
}

// Unwrap returns the damage.
func (e *LostError) Unwrap() error { return e.Damage }

// OpenLog opens the log that is there, cuts off what a crash has torn and nobody was promised, and goes on in a new
// file. A *LostError says that more than that is missing.
func OpenLog(o LogOptions) (*FileLog, error) {
	l, err := openLog(o)
	return l, lost(err)
}

// lost returns err; one that names damage to the log becomes a LostError, which says what that means for a node.
func lost(err error) error {
	if damage := (*folder.DamageError)(nil); errors.As(err, &damage) {
		return &LostError{damage}
	}
	return err
}

func openLog(o LogOptions) (*FileLog, error) {
	l := newLog(o)
	d, err := folder.Read(o.FS, o.Dir)
	if err != nil {
		return nil, err
	}
	for _, name := range d.Tmp {
		if err := o.FS.Remove(filepath.Join(o.Dir, name)); err != nil {
			return nil, fmt.Errorf("remove what a crash left unfinished: %w", err)
		}
	}
	oldest, self := uint64(0), Self{}
	r, err := readLogs(o, d, func(r logRecord) error {
		oldest = max(oldest, r.seq)
		if r.self != nil {
			self = *r.self
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if o.Owner.Cluster != 0 && o.Owner.Cluster != self.Cluster {
		if o.Owner.Node == 0 {
			return nil, &folder.DamageError{Dir: o.Dir, File: folder.SnapshotName(o.Base.Index), Detail: fmt.Sprintf(
				"the snapshot is one of cluster %d, and the log one of cluster %d", o.Owner.Cluster, self.Cluster)}
		}
		self = o.Owner
	}
	if l.file, err = r.Resume(l.fileOptions()); err != nil {
		return nil, err
	}
	l.number = r.Last
	l.be(self)
	if err := l.load(oldest); err != nil {
		return nil, errors.Join(err, l.file.Close())
	}
	return l, nil
}

// readLogs reads the records of a folder's log, from its oldest file on.
func readLogs(o LogOptions, d folder.Folder, each func(logRecord) error) (*logfile.Reader, error) {
	if len(d.Logs) == 0 {
		return nil, &folder.DamageError{Dir: o.Dir, File: folder.LogName(1), Detail: "the log is missing"}
	}
	for i, seq := range d.Logs[1:] {
		if want := d.Logs[i] + 1; seq != want {
			return nil, &folder.DamageError{Dir: o.Dir, File: folder.LogName(want), Detail: "the file is missing"}
		}
	}
	r := &logfile.Reader{
		FS: o.FS, Dir: o.Dir, Magic: Magic, Logger: o.Logger,
		Valid: func(body []byte) bool {
			_, err := parseLogRecord(body)
			return err == nil || len(body) == frame.RecordHead
		},
		Apply: func(_ uint64, body []byte) error {
			r, err := parseLogRecord(body)
			if err != nil {
				return err
			}
			return each(r)
		},
	}
	first, err := firstBase(o, d.Logs[0])
	if err != nil {
		return nil, err
	}
	return r, r.Read(d.Logs, first)
}

// readLog reads a log into memory, and changes nothing. The result is for looking at: it can neither be written nor
// closed.
func readLog(o LogOptions, d folder.Folder) (*FileLog, *logfile.Reader, error) {
	l := newLog(o)
	self, began := Self{}, false
	r, err := readLogs(o, d, func(r logRecord) error {
		if r.self != nil {
			self = *r.self
		}
		return l.replay(&segment{}, 0, r, &began)
	})
	if err != nil {
		return nil, nil, err
	}
	l.be(self)
	_, err = l.join(began, d.Logs[0])
	return l, r, err
}

// firstBase returns the position of the oldest file: those before it have gone.
func firstBase(o LogOptions, seq uint64) (int64, error) {
	r := logfile.Reader{FS: o.FS, Dir: o.Dir, Magic: Magic}
	f, _, h, err := r.Open(folder.LogName(seq), Magic, seq)
	if err != nil {
		return 0, err
	}
	return h.Base, f.Close()
}

// load reads the files from the oldest on into memory, and begins a file to go on in. What a start has written again is
// read where it is now.
func (l *FileLog) load(oldest uint64) error {
	d, err := folder.Read(l.o.FS, l.o.Dir)
	if err != nil {
		return err
	}
	for _, seq := range d.Logs {
		if seq < oldest {
			if err := l.remove(&segment{seq: seq}); err != nil {
				return err
			}
			continue
		}
		s, err := openSegment(l.o, seq)
		if err != nil {
			return err
		}
		if n := len(l.segments); n > 0 {
			l.segments[n-1].end = s.base - l.segments[n-1].base
		}
		l.segments = append(l.segments, s)
	}
	l.segments[len(l.segments)-1].end = l.file.Size()
	began := false
	for _, s := range l.segments {
		err := s.read(l.o, func(off int64, r logRecord) error {
			if err := l.replay(s, off, r, &began); err != nil {
				return &folder.DamageError{Dir: l.o.Dir, File: folder.LogName(s.seq), Offset: off, Detail: err.Error()}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	anew, err := l.join(began, l.segments[0].seq)
	switch {
	case err != nil:
		return err
	case anew:
		return l.beginAnew(entryID{l.base.Index, l.base.Term})
	}
	return l.rotate(recordHead, entryID{l.last, l.termOf(l.last)})
}

// replay takes a record, which is in s at off, into memory. began says whether a record said where the log begins.
func (l *FileLog) replay(s *segment, off int64, r logRecord, began *bool) error {
	switch {
	case r.kind == recordState:
		l.state = r.state
	case r.kind == recordBegin, r.kind == recordHead:
		if r.kind == recordBegin || !*began {
			l.beginAt(r.place)
			*began = true
		}
		s.begin(r.place)
	case r.kind == recordEntry && *began:
		return l.put(s, off, r.entry)
	}
	return nil
}

// join has the log go on where the snapshot ends, anew if it has no entry there: a snapshot was received, or made by
// Recover, and a crash came before the log knew of it. oldest is the first of its files.
func (l *FileLog) join(began bool, oldest uint64) (anew bool, err error) {
	base := entryID{l.base.Index, l.base.Term}
	if !began || base.index < l.prev.index {
		return false, &folder.DamageError{Dir: l.o.Dir, File: folder.LogName(oldest), Detail: fmt.Sprintf(
			"the log begins behind entry %d, and the snapshot ends at entry %d", l.prev.index, base.index)}
	}
	l.state.Commit = new(min(max(l.state.GetCommit(), base.index), max(l.last, base.index)))
	if term, err := l.Term(base.index); err == nil && term == base.term {
		return false, nil
	}
	l.beginAt(base)
	if base.term > l.state.GetTerm() {
		l.state.Term, l.state.Vote = new(base.term), new(uint64(0))
	}
	return true, nil
}
