package cluster

import (
	"fmt"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"kv/store/wal/frame"
	"kv/store/wal/logfile"
)

// Save is part of Log. After its first error it does nothing any more (C9).
func (l *FileLog) Save(appends []*Append) error {
	l.disk.Lock()
	defer l.disk.Unlock()
	if l.failed != nil {
		return l.failed
	}
	if err := l.save(appends); err != nil {
		l.failed = err
		return err
	}
	return nil
}

// place is where an entry was put.
type place struct {
	s   *segment
	off int64
	e   *pb.Entry
}

// save is Save. What the library sees changes at its end, or when a file ends.
func (l *FileLog) save(appends []*Append) error {
	var put []place
	sync := false
	for len(appends) > 0 {
		a := appends[0]
		if a.Snapshot != nil {
			if err := l.show(put); err != nil {
				return err
			}
			put = nil
			if err := l.restart(a); err != nil {
				return err
			}
		}
		if l.file.Size() >= l.o.SegmentSize ||
			len(a.Entries) > 0 && a.Entries[0].GetIndex() <= l.segments[len(l.segments)-1].head.index {
			// An entry is never replaced by one in the same file that is before what the file says was before it.
			if err := l.show(put); err != nil {
				return err
			}
			put = nil
			before := l.last
			if len(a.Entries) > 0 {
				before = a.Entries[0].GetIndex() - 1
			}
			if err := l.rotate(recordHead, entryID{before, l.termOf(before)}); err != nil {
				return err
			}
		}
		placed, err := l.write(a)
		if err != nil {
			return err
		}
		put = append(put, placed...)
		sync = sync || a.Sync
		if a.HardState != nil {
			l.mu.Lock()
			l.state = a.HardState
			l.mu.Unlock()
		}
		appends = appends[1:]
	}
	if sync {
		began := time.Now()
		if err := l.file.Sync(); err != nil {
			return err
		}
		if l.syncs.Add(1); l.o.Synced != nil {
			l.o.Synced(time.Since(began))
		}
	}
	return l.show(put)
}

// write writes an append's hard state and entries. A crash may leave any part of it from the beginning on; so the term
// and the vote come before the entries, whose term is never above the state's, and what is committed behind them, since
// it may be of them and not of those whose place they take. It returns where the entries are.
func (l *FileLog) write(a *Append) ([]place, error) {
	s := l.segments[len(l.segments)-1]
	put := make([]place, 0, len(a.Entries))
	size := int64(64)
	for _, e := range a.Entries {
		size += int64(len(e.GetData())) + 64
	}
	l.file.Reserve(size, false)
	err := l.file.Append(func() error {
		enc := l.file.Encoder()
		before := a.HardState
		if before != nil && len(a.Entries) > 0 {
			commit := min(before.GetCommit(), a.Entries[0].GetIndex()-1)
			before = &pb.HardState{Term: before.Term, Vote: before.Vote, Commit: new(commit)}
		}
		if before != nil {
			l.begin(enc)
			enc.Buf = appendState(enc.Buf, before)
			enc.End()
		}
		for _, e := range a.Entries {
			put = append(put, place{s, l.file.Size() + int64(enc.Len()), e})
			l.begin(enc)
			enc.Buf = appendEntryHead(enc.Buf, e)
			enc.Value(e.GetData())
			enc.End()
			if enc.Len() >= frame.WriteChunk {
				if err := l.file.WriteOut(); err != nil {
					return err
				}
			}
		}
		if before != a.HardState && before.GetCommit() != a.HardState.GetCommit() {
			l.begin(enc)
			enc.Buf = appendState(enc.Buf, a.HardState)
			enc.End()
		}
		return l.file.WriteOut()
	})
	return put, err
}

// begin begins a record.
func (l *FileLog) begin(enc *frame.Encoder) {
	l.number++
	enc.Begin()
	enc.Buf = frame.AppendRecord(enc.Buf, l.number, l.file.Synced())
}

// show has the library see entries.
func (l *FileLog) show(put []place) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments[len(l.segments)-1].end = l.file.Size()
	for _, p := range put {
		if err := l.put(p.s, p.off, p.e); err != nil {
			return fmt.Errorf("the library gave the log an entry that does not fit: %w", err)
		}
	}
	return nil
}

// restart has the log begin behind a snapshot that was received, and is durable.
func (l *FileLog) restart(a *Append) error {
	meta := a.Snapshot.GetMetadata()
	at := entryID{meta.GetIndex(), meta.GetTerm()}
	l.mu.Lock()
	l.base = Base{Index: at.index, Term: at.term, Conf: meta.GetConfState()}
	l.beginAt(at)
	state := l.state
	if a.HardState != nil {
		state = a.HardState
	}
	l.state = &pb.HardState{Term: state.Term, Vote: state.Vote, Commit: new(max(state.GetCommit(), at.index))}
	l.mu.Unlock()
	return l.beginAnew(at)
}

// beginAnew begins a file that those before do not count beside, and removes them.
func (l *FileLog) beginAnew(at entryID) error {
	if err := l.rotate(recordBegin, at); err != nil {
		return err
	}
	l.mu.Lock()
	gone := l.segments[:len(l.segments)-1]
	l.segments = l.segments[len(l.segments)-1:]
	l.mu.Unlock()
	return l.remove(gone...)
}

// writeOldest has the files before this one not count any more, durably.
func (l *FileLog) writeOldest(seq uint64) error {
	err := l.file.Append(func() error {
		enc := l.file.Encoder()
		l.begin(enc)
		enc.Buf = appendOldest(enc.Buf, seq)
		enc.End()
		return l.file.WriteOut()
	})
	if err != nil {
		return err
	}
	return l.file.Sync()
}

// rotate begins a new file, which says which entry came before it. All of the file before is on disk then. Called with
// disk held.
func (l *FileLog) rotate(kind byte, at entryID) error {
	if err := l.file.Sync(); err != nil {
		return err
	}
	old := l.file
	h := frame.Header{Magic: Magic, ID: old.Header().ID, Seq: old.Header().Seq + 1, Base: old.End()}
	l.mu.Lock()
	state := l.state
	l.segments[len(l.segments)-1].end = old.Size()
	l.mu.Unlock()
	if err := l.create(h, kind, at, state); err != nil {
		return err
	}
	if err := old.Trim(); err != nil {
		return err
	}
	return old.Close()
}

// create begins a file with this header, which says what was before it.
func (l *FileLog) create(h frame.Header, kind byte, at entryID, state *pb.HardState) error {
	file, err := logfile.Create(l.fileOptions(), h, func(f *logfile.File) error {
		l.file = f
		enc := f.Encoder()
		l.begin(enc)
		enc.Buf = appendState(enc.Buf, state)
		enc.End()
		l.begin(enc)
		enc.Buf = appendSelf(enc.Buf, l.self)
		enc.End()
		l.begin(enc)
		enc.Buf = appendPlace(enc.Buf, kind, at)
		enc.End()
		if kind == recordBegin {
			l.begin(enc)
			enc.Buf = appendOldest(enc.Buf, h.Seq)
			enc.End()
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.file = file
	s := &segment{seq: h.Seq, base: h.Base}
	s.begin(at)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments = append(l.segments, s)
	l.state = state
	if kind == recordBegin {
		l.beginAt(at)
	}
	return nil
}

// Close closes the log. What was not to be synced may be lost.
func (l *FileLog) Close() error {
	l.disk.Lock()
	defer l.disk.Unlock()
	if l.failed == nil {
		l.failed = fmt.Errorf("the log in %s is closed", l.o.Dir)
	}
	return l.file.Close()
}
