package cluster

import (
	"encoding/binary"
	"errors"

	pb "go.etcd.io/raft/v3/raftpb"

	"kv/store/wal/frame"
)

// Magic is what a file of the log begins with: a kvd without peers refuses it in words.
const Magic = frame.MagicReplicaLog

// The frames of the log are those of package frame: each body begins with a running number and the position up to which
// the log was on disk. Behind that is one byte that says what it is, and then, all integers big-endian:
//
//	1 entry   raft's type u8, term u64, index u64, data: it takes the place of all entries from its index on
//	2 state   term u64, vote u64, commit u64: the newest counts
//	3 begin   index u64, term u64: the log begins behind this entry, which a snapshot has, and nothing before counts
//	4 head    index u64, term u64: the last entry before this file, so that the files before it can go
//	5 oldest  sequence u64: the files before this one do not count, and are being removed
//	6 self    cluster u64, node u64, founders: whose log it is, as Members.Encode writes them; the newest counts
//
// The numbers are frozen: they are in files.
const (
	recordEntry  = 1
	recordState  = 2
	recordBegin  = 3
	recordHead   = 4
	recordOldest = 5
	recordSelf   = 6

	entryHead = 18 // of an entry: what is before its data
)

// entryID names an entry.
type entryID struct{ index, term uint64 }

func appendState(b []byte, s *pb.HardState) []byte {
	b = append(b, recordState)
	b = binary.BigEndian.AppendUint64(b, s.GetTerm())
	b = binary.BigEndian.AppendUint64(b, s.GetVote())
	return binary.BigEndian.AppendUint64(b, s.GetCommit())
}

func appendPlace(b []byte, kind byte, at entryID) []byte {
	b = append(b, kind)
	b = binary.BigEndian.AppendUint64(b, at.index)
	return binary.BigEndian.AppendUint64(b, at.term)
}

func appendOldest(b []byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, recordOldest), seq)
}

func appendSelf(b []byte, s Self) []byte {
	b = append(b, recordSelf)
	b = binary.BigEndian.AppendUint64(b, s.Cluster)
	b = binary.BigEndian.AppendUint64(b, s.Node)
	return append(b, s.Founders.Encode()...)
}

func appendEntryHead(b []byte, e *pb.Entry) []byte {
	b = append(b, recordEntry, byte(e.GetType()))
	b = binary.BigEndian.AppendUint64(b, e.GetTerm())
	return binary.BigEndian.AppendUint64(b, e.GetIndex())
}

// logRecord is a record that was read. One of the fields counts.
type logRecord struct {
	kind  byte
	entry *pb.Entry
	state *pb.HardState
	place entryID
	seq   uint64
	self  *Self
}

var errBadRecord = errors.New("the record is none of a replicated log's")

// parseLogRecord reads the body of a frame. The entry has a copy of its data.
func parseLogRecord(body []byte) (r logRecord, err error) {
	if len(body) <= frame.RecordHead {
		return r, errBadRecord
	}
	b := body[frame.RecordHead:]
	r.kind, b = b[0], b[1:]
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
	switch {
	case r.kind == recordEntry && len(b) >= entryHead-1 && b[0] <= byte(pb.EntryConfChangeV2):
		r.entry = &pb.Entry{Type: pb.EntryType(b[0]).Enum(), Term: new(u64(1)), Index: new(u64(9))}
		if data := b[entryHead-1:]; len(data) > 0 {
			r.entry.Data = append([]byte(nil), data...)
		}
	case r.kind == recordState && len(b) == 24:
		r.state = &pb.HardState{Term: new(u64(0)), Vote: new(u64(8)), Commit: new(u64(16))}
	case (r.kind == recordBegin || r.kind == recordHead) && len(b) == 16:
		r.place = entryID{u64(0), u64(8)}
	case r.kind == recordOldest && len(b) == 8:
		r.seq = u64(0)
	case r.kind == recordSelf && len(b) >= 16:
		r.self = &Self{Cluster: u64(0), Node: u64(8)}
		r.self.Founders, err = DecodeMembers(b[16:])
	default:
		return r, errBadRecord
	}
	return r, err
}
