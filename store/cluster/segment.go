package cluster

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"path/filepath"
	"slices"
	"sort"

	pb "go.etcd.io/raft/v3/raftpb"

	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/logfile"
)

// segment is a file of the log: which entries it has, and where. An entry that several have counts in the last of them.
type segment struct {
	seq  uint64
	base int64 // the log's position of the first byte
	end  int64 // how many bytes of the file count

	headed bool
	head   entryID // what was before the file, if it is headed: the files before it may go when a snapshot has that
	first  uint64  // the first entry
	count  uint64  // how many there are from first on
	marks  []mark  // some of them, in order, the first one always; between two lies nothing that was replaced

	begins, least uint64 // the entry that was put first, and the least that was; they may have been replaced
}

// mark is the place of an entry in its file; entries behind it are found by reading on. So the memory that a log takes
// follows its bytes, and not the number of its entries.
type mark struct {
	index uint64
	off   int64
}

func openSegment(o LogOptions, seq uint64) (*segment, error) {
	r := logfile.Reader{FS: o.FS, Dir: o.Dir, Magic: Magic}
	f, _, h, err := r.Open(folder.LogName(seq), Magic, seq)
	if err != nil {
		return nil, err
	}
	return &segment{seq: seq, base: h.Base}, f.Close()
}

func (s *segment) begin(at entryID) {
	s.headed, s.head, s.first, s.count, s.marks = true, at, 0, 0, nil
}

// put notes where an entry is, which takes the place of those from its index on. There is a mark for every so many bytes.
func (s *segment) put(index uint64, off, every int64) {
	if s.begins == 0 {
		s.begins, s.least = index, index
	}
	s.least = min(s.least, index)
	if s.count == 0 || index <= s.first {
		s.first, s.count = index, 0
	}
	replaces := index < s.first+s.count
	for n := len(s.marks); n > 0 && (s.count == 0 || s.marks[n-1].index >= index); n-- {
		s.marks = s.marks[:n-1]
	}
	if n := len(s.marks); n == 0 || replaces || off-s.marks[n-1].off >= every {
		s.marks = append(s.marks, mark{index, off})
	}
	s.count = index - s.first + 1
}

func (s *segment) has(index uint64) bool { return index >= s.first && index-s.first < s.count }

// marked returns which of the marks is the last one up to an entry that the segment has.
func (s *segment) marked(index uint64) int {
	return sort.Search(len(s.marks), func(i int) bool { return s.marks[i].index > index }) - 1
}

// about returns where an entry of the segment is, or the end behind the last one, as if all between two marks were of one size.
func (s *segment) about(index uint64) int64 {
	if !s.has(index) {
		return s.end
	}
	i := s.marked(index)
	from, to := s.marks[i], mark{s.first + s.count, s.end}
	if i+1 < len(s.marks) {
		to = s.marks[i+1]
	}
	return from.off + int64(float64(to.off-from.off)*float64(index-from.index)/float64(to.index-from.index))
}

// open opens the file to be read.
func (s *segment) open(o LogOptions) (io.Closer, *frame.Reader, error) {
	r := logfile.Reader{FS: o.FS, Dir: o.Dir, Magic: Magic}
	f, fr, _, err := r.Open(folder.LogName(s.seq), Magic, s.seq)
	return f, fr, err
}

// read gives each record and its offset to f.
func (s *segment) read(o LogOptions, f func(off int64, r logRecord) error) error {
	file, fr, err := s.open(o)
	if err != nil {
		return err
	}
	defer file.Close()
	fr.End = s.end
	for {
		off := fr.Off
		body, err := fr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return s.damage(o, off, err)
		}
		if len(body) == frame.RecordHead { // a mark
			continue
		}
		r, err := parseLogRecord(body)
		if err != nil {
			return s.damage(o, off, err)
		}
		if err := f(off, r); err != nil {
			return err
		}
	}
}

func (s *segment) damage(o LogOptions, off int64, err error) error {
	return &folder.DamageError{Dir: o.Dir, File: folder.LogName(s.seq), Offset: off, Detail: err.Error()}
}

// Wants reports whether Fetch has something to read.
func (l *FileLog) Wants() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.want != 0
}

// Fetch reads what a follower lacks and only the disk has, if there is something. It is called by a goroutine that may
// wait for a disk.
func (l *FileLog) Fetch() error {
	l.mu.Lock()
	want, cuts, s, to := l.want, l.cuts, (*segment)(nil), l.last+1
	var marks []mark
	if want != 0 {
		for i := len(l.segments) - 1; i >= 0 && s == nil; i-- {
			if l.segments[i].has(want) {
				s = l.segments[i]
				marks = slices.Clone(s.marks[s.marked(want):])
				to = min(to, s.first+s.count)
			}
			if later := l.segments[i]; s == nil && later.count > 0 {
				to = min(to, later.first) // from there on, that one counts
			}
		}
	}
	o := l.o
	l.mu.Unlock()
	if s == nil {
		return nil
	}
	entries, err := s.fetch(o, want, to, marks)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.want == want {
		l.want = 0
	}
	if errors.Is(err, iofs.ErrNotExist) && want <= l.prev.index { // it has gone meanwhile
		return nil
	}
	if err == nil && l.cuts == cuts {
		if n := len(l.fetched); n > 0 && l.fetched[n-1].GetIndex()+1 == want {
			entries = append(slices.Clone(l.fetched[n/2:]), entries...) // what is before may not have been asked for yet
		}
		l.fetched, l.served = entries, l.applied
	}
	return err
}

// fetch reads the entries from one on up to another, as many as take fetchSize. marks begin with the last one up to the
// first of them.
func (s *segment) fetch(o LogOptions, from, to uint64, marks []mark) ([]*pb.Entry, error) {
	file, fr, err := s.open(o)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var entries []*pb.Entry
	var size int64
	for i, m := range marks {
		fr.Off = m.off
		end := to
		if i+1 < len(marks) {
			end = min(end, marks[i+1].index)
		}
		for index := m.index; index < end; {
			if size > o.FetchSize {
				return entries, nil
			}
			off := fr.Off
			body, err := fr.Next()
			if err != nil {
				return nil, fmt.Errorf("%s, offset %d: %w", filepath.Join(o.Dir, folder.LogName(s.seq)), off, err)
			}
			if len(body) == frame.RecordHead { // a mark of package frame's
				continue
			}
			r, err := parseLogRecord(body)
			switch {
			case err != nil || r.entry != nil && r.entry.GetIndex() != index:
				return nil, s.damage(o, off, fmt.Errorf("no entry %d", index))
			case r.entry == nil:
				continue
			case index >= from:
				entries = append(entries, r.entry)
				size += int64(len(r.entry.GetData())) + entryMemory
			}
			index++
		}
	}
	return entries, nil
}

// Pin keeps entries in the log.
type Pin struct{ l *FileLog }

// Pin keeps the entries behind index until Release (C12).
func (l *FileLog) Pin(index uint64) *Pin {
	l.disk.Lock()
	defer l.disk.Unlock()
	p := &Pin{l}
	l.pins[p] = index
	return p
}

// Release ends it.
func (p *Pin) Release() {
	p.l.disk.Lock()
	defer p.l.disk.Unlock()
	delete(p.l.pins, p)
}

// Snapshotted says that a snapshot is durable that has all up to base.
func (l *FileLog) Snapshotted(base Base) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if base.Index > l.base.Index {
		l.base = base
	}
}

// Compact removes files whose entries are all up to index, if a durable snapshot has them, and nobody has pinned them
// (C12). Of what it could remove it leaves the newest behind bytes, for members that are away, and up to four times as
// many for members that are there and have the log up to lacked only. It waits for the disk.
func (l *FileLog) Compact(index uint64, behind int64, lacked uint64) error {
	l.disk.Lock()
	defer l.disk.Unlock()
	if l.failed != nil {
		return l.failed
	}
	for _, pinned := range l.pins {
		index = min(index, pinned)
	}
	l.mu.Lock()
	if index = min(index, l.base.Index, l.applied); index < l.prev.index {
		l.mu.Unlock()
		return nil
	}
	first := l.needed(index)
	for first > 0 && (!l.segments[first].headed || l.segments[first].head.index > index) {
		first--
	}
	end, lack := l.segments[first].base, l.needed(min(lacked, index))
	for i := first - 1; i >= 0 && (end-l.segments[i+1].base < behind || i >= lack && end-l.segments[i].base <= 4*behind); i-- {
		if l.canBegin(i) {
			first = i
		}
	}
	gone, oldest := l.segments[:first], l.segments[first].seq
	l.mu.Unlock()
	if first == 0 {
		return nil
	}
	if err := l.writeOldest(oldest); err != nil {
		l.failed = err
		return err
	}
	l.mu.Lock()
	l.segments = l.segments[first:]
	l.prev = l.segments[0].head
	for len(l.terms) > 0 && l.terms[0].index <= l.prev.index {
		l.terms = l.terms[1:]
	}
	if len(l.fetched) > 0 && l.fetched[0].GetIndex() <= l.prev.index {
		l.fetched = nil
	}
	l.mu.Unlock()
	return l.remove(gone...)
}

// canBegin reports whether the log can begin with a segment: whether each entry of it and of those behind it follows
// what is there then. What the segment says was before it may have been replaced since; or it was to be replaced
// itself, and was not. Called with mu held.
func (l *FileLog) canBegin(i int) bool {
	s := l.segments[i]
	if !s.headed {
		return false
	}
	begin, last := s.head.index, s.head.index
	for _, s := range l.segments[i:] {
		if s.count == 0 {
			continue
		}
		if s.begins > last+1 || s.least <= begin {
			return false
		}
		last = s.first + s.count - 1
	}
	return last == l.last
}

// needed returns the first segment that has an entry behind index that counts. Called with mu held.
func (l *FileLog) needed(index uint64) int {
	needed, end := len(l.segments)-1, l.last+1 // from end on, later ones count
	for i := len(l.segments) - 1; i >= 0; i-- {
		s := l.segments[i]
		if s.count == 0 {
			continue
		}
		if last := min(s.first+s.count, end) - 1; last >= s.first && last > index {
			needed = i
		}
		end = min(end, s.first)
	}
	return needed
}

// remove removes files that do not count any more, the oldest first, so that what a crash leaves is consecutive.
func (l *FileLog) remove(gone ...*segment) error {
	for _, s := range gone {
		err := l.o.FS.Remove(filepath.Join(l.o.Dir, folder.LogName(s.seq)))
		if err == nil {
			err = l.o.FS.SyncDir(l.o.Dir)
		}
		if err != nil {
			return fmt.Errorf("remove a file of the log that is not needed any more: %w", err)
		}
	}
	return nil
}
