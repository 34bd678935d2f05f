package cluster

import (
	"fmt"
	"slices"
	"sort"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// beginAt has the log begin behind an entry, empty.
func (l *FileLog) beginAt(at entryID) {
	l.prev, l.last = at, at.index
	l.terms, l.mem, l.fetched, l.want, l.cached, l.left = nil, nil, nil, 0, 0, 0
	l.cuts++
	l.applied = max(l.applied, at.index)
}

// put takes an entry, which is in s at off, into memory, in the place of all from its index on.
func (l *FileLog) put(s *segment, off int64, e *pb.Entry) error {
	index := e.GetIndex()
	if index <= l.prev.index || index > l.last+1 {
		return fmt.Errorf("entry %d follows entry %d", index, l.last)
	}
	if e.GetTerm() < l.termOf(index-1) {
		return fmt.Errorf("entry %d is of term %d, and the one before of term %d", index, e.GetTerm(), l.termOf(index-1))
	}
	s.put(index, off, l.o.MarkEvery)
	if index <= l.last {
		l.cut(index)
	}
	if e.GetTerm() != l.termOf(l.last) {
		l.terms = append(l.terms, entryID{index, e.GetTerm()})
	}
	l.last = index
	if index > l.applied || len(l.mem) > 0 { // nothing that is applied at a start is needed in memory
		l.mem = append(l.mem, e)
	}
	return nil
}

// cut gives up the entries from index on.
func (l *FileLog) cut(index uint64) {
	l.last = index - 1
	l.cuts++
	for n := len(l.terms); n > 0 && l.terms[n-1].index >= index; n-- {
		l.terms = l.terms[:n-1]
	}
	if first := l.memFirst(); index <= first {
		l.mem = nil
	} else {
		l.mem = slices.Clone(l.mem[:index-first]) // the library may have the rest
	}
	if n := len(l.fetched); n > 0 && l.fetched[n-1].GetIndex() >= index {
		l.fetched = nil
	}
}

// memFirst is the index of the first entry in memory. It is called before last changes, or after mem has.
func (l *FileLog) memFirst() uint64 {
	if len(l.mem) == 0 {
		return l.last + 1
	}
	return l.mem[0].GetIndex()
}

// termOf returns the term of an entry that the log has, or begins behind.
func (l *FileLog) termOf(index uint64) uint64 {
	n := sort.Search(len(l.terms), func(i int) bool { return l.terms[i].index > index })
	if n == 0 {
		return l.prev.term
	}
	return l.terms[n-1].term
}

// InitialState is part of raft.Storage.
func (l *FileLog) InitialState() (*pb.HardState, *pb.ConfState, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state, l.base.Conf, nil
}

// Entries is part of raft.Storage.
func (l *FileLog) Entries(lo, hi, maxSize uint64) ([]*pb.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.missed = false
	switch {
	case lo <= l.prev.index:
		return nil, raft.ErrCompacted
	case hi > l.last+1:
		return nil, raft.ErrUnavailable
	}
	from := l.mem
	if lo < l.memFirst() {
		from = l.fetched
		if n := len(from); n == 0 || lo < from[0].GetIndex() || lo > from[n-1].GetIndex() {
			l.want, l.missed = lo, true
			return nil, raft.ErrCompacted // see Snapshot
		}
		l.served = l.applied
		if half := from[len(from)/2].GetIndex(); lo > half && l.want == 0 {
			l.want = from[len(from)-1].GetIndex() + 1 // it will be asked for next
			if l.want >= l.memFirst() {
				l.want = 0
			}
		}
	}
	from = from[lo-from[0].GetIndex():]
	from = from[:min(hi-lo, uint64(len(from)))]
	return limitSize(from, maxSize), nil
}

// limitSize returns as many entries as have no more bytes than maxSize, and one at least.
func limitSize(entries []*pb.Entry, maxSize uint64) []*pb.Entry {
	var size uint64
	for i, e := range entries {
		size += uint64(len(e.GetData())) + entryHead
		if size > maxSize && i > 0 {
			return entries[:i:i]
		}
	}
	return entries[:len(entries):len(entries)]
}

// Term is part of raft.Storage.
func (l *FileLog) Term(index uint64) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.missed = false
	switch {
	case index < l.prev.index:
		return 0, raft.ErrCompacted
	case index > l.last:
		return 0, raft.ErrUnavailable
	}
	return l.termOf(index), nil
}

// LastIndex is part of raft.Storage.
func (l *FileLog) LastIndex() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, nil
}

// FirstIndex is part of raft.Storage.
func (l *FileLog) FirstIndex() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.prev.index + 1, nil
}

// Snapshot is part of raft.Storage, of which only the error counts: whether what Entries did not have is being fetched.
func (l *FileLog) Snapshot() (*pb.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.missed {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return nil, nil
}

// Applied says up to which index the log has been applied: what is before may leave the memory, and so may what was
// fetched and has not been asked for while as many entries were applied as stay.
func (l *FileLog) Applied(index uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.memFirst()
	for i := max(l.applied+1, first); i <= min(index, l.last); i++ {
		l.cached += int64(len(l.mem[i-first].GetData()))
	}
	l.applied = max(l.applied, index)
	n := 0
	for n < len(l.mem) && l.mem[n].GetIndex() <= l.applied &&
		(l.cached > l.o.CacheBytes || l.applied-l.mem[n].GetIndex() >= cacheEntries) {
		l.cached -= int64(len(l.mem[n].GetData()))
		n++
	}
	l.mem = l.mem[n:]
	if l.left += n; l.left > len(l.mem)/4 {
		l.mem, l.left = slices.Clone(l.mem), 0
	}
	if l.applied-l.served > cacheEntries {
		l.fetched = nil
	}
}
