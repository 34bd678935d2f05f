package cluster

import (
	"fmt"
	"log/slog"
	"maps"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// The files, streams and entries of a cluster are written in a format with a number, which is the same for all of it
// (C13). Each node reads a range of them. It says which in the first bytes of each stream, and in what the members know
// of it, which is in the log: when it joins, and when it comes back with another range. The number rises by itself with
// the entry after which all members read a higher one, so that all come to it at the same place in the log; it never
// falls. Until then a node may go back to an older kvd, and from then on one that does not read it is refused, by the
// others and by itself.

// formatOldest and formatNewest, which is in a file of its own, are what this kvd reads. A change of what is written
// gets the next number, and is written only where Core.Format says so.
const (
	formatOldest = 1

	// formatSettings is the first that has Settings, of members, and what is kept of the history, in a snapshot.
	formatSettings = 2
)

// Formats is the range of formats that a node reads, both ends included. The zero value stands for a node that has not
// said it, and means format 1 alone.
type Formats struct{ Oldest, Newest uint16 }

// built are the formats of this kvd.
var built = Formats{formatOldest, formatNewest}

// or returns f, or where it is zero that of the package.
func (f Formats) or(g Formats) Formats {
	if f == (Formats{}) {
		return g
	}
	return f
}

// check returns nil if a format is among them.
func (f Formats) check(format uint16) error {
	if f = f.or(Formats{1, 1}); format < f.Oldest || format > f.Newest {
		return &FormatError{format, f}
	}
	return nil
}

// FormatError says that a node does not read what a cluster writes.
type FormatError struct {
	Format uint16 // the cluster's
	Reads  Formats
}

// Error says what to do.
func (e *FormatError) Error() string {
	do := "a newer kvd is needed"
	if e.Format < e.Reads.Oldest {
		do = "bring all nodes up to date first, with a kvd that reads both"
	}
	return fmt.Sprintf("the cluster's format is %d, and a kvd that reads %d to %d can't be of it: %s",
		e.Format, e.Reads.Oldest, e.Reads.Newest, do)
}

// newest is the highest format that all of the members read.
func (all Members) newest() uint16 {
	newest := uint16(0)
	for _, m := range all {
		if n := m.Formats.or(Formats{1, 1}).Newest; newest == 0 || n < newest {
			newest = n
		}
	}
	return newest
}

// agree has the cluster's format rise to what all members read. The error says that this node is a member, and does
// not. One that was removed gets nothing more to read.
func (c *Core) agree() error {
	if newest := c.members.newest(); newest > c.format {
		if c.format != 0 {
			c.logger.Info("all members read a newer format: it is written from now on", "format", newest)
		}
		c.format = newest
	}
	if _, member := c.members[c.id]; !member {
		return nil
	}
	return c.formats.check(c.format)
}

// foresee returns a *FormatError if entries that are about to be handed out have the cluster go over to a format that
// this node does not read: what is behind that change may be in the new one, and would be taken for damaged.
func (c *Core) foresee(entries []*pb.Entry) error {
	if len(c.applying) == 0 {
		c.foreseen = c.members
	}
	for _, e := range entries {
		change := new(pb.ConfChangeV2)
		if e.GetType() != pb.EntryConfChangeV2 || proto.Unmarshal(e.GetData(), change) != nil {
			continue // a change that makes no sense is refused when it is applied
		}
		added, err := DecodeMembers(change.GetContext())
		if err != nil {
			continue
		}
		members := maps.Clone(c.foreseen)
		if members == nil {
			members = Members{}
		}
		maps.Copy(members, added)
		for _, x := range change.GetChanges() {
			if x.GetType() == pb.ConfChangeRemoveNode {
				delete(members, x.GetNodeId())
			}
		}
		c.foreseen = members
		if _, member := members[c.id]; member {
			if err := c.formats.check(max(c.format, members.newest())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Format is the cluster's format as of the newest published entry: entries are written in this format, or in an older
// one; 0: no member is known yet.
func (c *Core) Format() uint16 { return c.format }

// Format returns the format that the cluster writes, 0: it is not known yet, and those that this node reads.
func (r *Replica) Format() (format uint16, reads Formats) {
	if n := r.node.Load(); n != nil {
		format = n.Status().Format
	}
	return format, r.desk.Member.Formats
}

// agreed reports whether founders have a format that all of them read, and are to keep the same history.
func agreed(founders Members, tell teller) bool {
	newest := founders.newest()
	for _, m := range founders {
		if m.Formats.check(newest) != nil {
			reads := func(m Member) string { return fmt.Sprintf("formats %d to %d", m.Formats.Oldest, m.Formats.Newest) }
			tell(slog.LevelWarn, "no cluster is founded: the peers read no format that all of them do; bring them up to date", "they_read", founders.each(reads))
			return false
		}
		for _, other := range founders {
			if newest >= formatSettings && !m.Settings.likeHistory(other.Settings) {
				tell(slog.LevelWarn, "no cluster is founded: the peers were started with different --history or --history-age; restart those that are wrong, so that all have the same",
					"they_have", founders.each(func(m Member) string { return m.Settings.history() }))
				return false
			}
		}
	}
	return true
}
