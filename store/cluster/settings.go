package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"kv/store"
)

// Settings are what a node was started with that is not its own affair, as its member says it to all: how much memory
// it has for what all are to take, and how much history is to be kept.
//
// The least of the memory is what the leader lets all data take. The history has to be the same on all (C10): how much
// is kept, and for how long, is in the log, and changes when all members have said the same. Until then each keeps what
// the log says. Whether any is kept is settled when the cluster is founded.
type Settings struct {
	Said       bool          // false: it is not known; the format did not have them yet, or nobody has asked
	Memory     int64         // how many bytes its store may take; 0: as many as there are
	History    int           // earlier versions to keep of each key
	HistoryAge time.Duration // for how long, in microseconds; 0: for any time
}

// settingsSize is how long they are, as bytes.
const settingsSize = 20

func (s Settings) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(s.Memory))
	b = binary.BigEndian.AppendUint32(b, uint32(min(s.History, math.MaxInt32)))
	return binary.BigEndian.AppendUint64(b, uint64(s.HistoryAge.Microseconds()))
}

// parseSettings reads what append has written.
func parseSettings(b []byte) Settings {
	return Settings{true, int64(binary.BigEndian.Uint64(b)), int(binary.BigEndian.Uint32(b[8:])),
		micros(binary.BigEndian.Uint64(b[12:]))}
}

func micros(n uint64) time.Duration {
	return time.Duration(min(n, math.MaxInt64/1000)) * time.Microsecond
}

// history is what settings say of it, in words.
func (s Settings) history() string {
	if s.HistoryAge == 0 {
		return fmt.Sprintf("--history %d", s.History)
	}
	return fmt.Sprintf("--history %d --history-age %v", s.History, s.HistoryAge)
}

// likeHistory reports whether both say the same of the history.
func (s Settings) likeHistory(t Settings) bool {
	return s.History == t.History && s.HistoryAge == t.HistoryAge
}

// memory returns the least memory that members have said, 0 if none has a limit, and whether it is less than another's
// in a way that somebody should know of: by more than a tenth, since machines of one kind differ by as much.
func (all Members) memory() (least int64, differ bool) {
	most, limits, n := int64(0), 0, 0
	for _, m := range all {
		s := m.Settings
		if !s.Said {
			continue
		}
		if n++; s.Memory > 0 {
			if limits++; least == 0 || s.Memory < least {
				least = s.Memory
			}
			most = max(most, s.Memory)
		}
	}
	return least, limits > 0 && limits < n || least < most-most/10
}

// history returns what members have said of the history, and whether all of them that have said something agree.
func (all Members) history() (said Settings, agree bool) {
	for _, m := range all {
		switch s := m.Settings; {
		case !s.Said:
		case !said.Said:
			said = s
		case !s.likeHistory(said):
			return said, false
		}
	}
	return said, true
}

// differ reports whether members have said settings that differ in a way that somebody should know of.
func (all Members) differ() bool {
	_, uneven := all.memory()
	_, agree := all.history()
	return uneven || !agree
}

// peersBy returns the peer addresses of the members that say the same.
func (all Members) peersBy(says func(Member) string) map[string][]string {
	peers := map[string][]string{}
	for _, m := range all {
		peers[says(m)] = append(peers[says(m)], m.Peer)
	}
	return peers
}

// inWords is what peersBy has returned, in words: "A at n1:7071, n2:7071; B at n3:7071".
func inWords(peers map[string][]string) string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(peers)) {
		slices.Sort(peers[what])
		parts = append(parts, what+" at "+strings.Join(peers[what], ", "))
	}
	return strings.Join(parts, "; ")
}

// each says which members say what, in words.
func (all Members) each(says func(Member) string) string { return inWords(all.peersBy(says)) }

// sharedClients says, in words, which members have the same address for clients; "": none have. A member whose place
// another takes does not count: both may be one machine, whose disk was lost.
func (all Members) sharedClients() string {
	counted := maps.Clone(all)
	for _, m := range all {
		delete(counted, m.Replaces)
	}
	peers := counted.peersBy(func(m Member) string { return m.Client })
	maps.DeleteFunc(peers, func(client string, at []string) bool { return client == "" || len(at) < 2 })
	return inWords(peers)
}

// memory is what settings say of it, in words.
func (s Settings) memory() string {
	switch {
	case !s.Said:
		return "not said"
	case s.Memory == 0:
		return "no limit"
	}
	return fmt.Sprintf("%d MiB", s.Memory>>20)
}

// said reports whether all members have said their settings.
func (all Members) said() bool {
	for _, m := range all {
		if !m.Settings.Said {
			return false
		}
	}
	return len(all) > 0
}

// HistoryError says that a node does not keep history and its cluster does, or the other way round.
type HistoryError struct {
	Cluster, Node int // how many versions each is to keep
}

// Error says what to do.
func (e *HistoryError) Error() string {
	if e.Cluster > 0 {
		return fmt.Sprintf("the cluster keeps earlier versions of keys, and this node was started without --history: start it with --history %d, as the others", e.Cluster)
	}
	return fmt.Sprintf("the cluster keeps no earlier versions of keys, and this node was started with --history %d: start it without. To have them, restore a backup as a new cluster whose nodes are started with --history", e.Node)
}

// checkHistory returns a *HistoryError if a node with these settings keeps history and the members do not, or the other
// way round.
func (all Members) checkHistory(own Settings) error {
	for _, m := range all {
		if s := m.Settings; s.Said && own.Said && (s.History > 0) != (own.History > 0) {
			return &HistoryError{s.History, own.History}
		}
	}
	return nil
}

// History returns how much history the store that is to be opened with the journal keeps, and for how long: what the
// snapshot says, or the founders have said, or else what the node was started with.
func (r *Replica) History() (depth int, age time.Duration) {
	if at := r.Journal.history[0]; at.depth > 0 {
		return at.depth, at.age
	}
	return r.o.Settings.History, r.o.Settings.HistoryAge
}

// settlePause is how long a node waits before it looks again what the members have said.
const settlePause = 500 * time.Millisecond

// settle has the store do what the members have said.
func (r *Replica) settle(ctx context.Context, n *Node, st *store.Store) {
	warned, uneven, shared := Settings{}, "", ""
	for {
		var all Members
		var leads bool
		if !n.call(func(c *Core) { all, leads = c.Members(), c.Leads() && c.Format() >= formatSettings }) {
			return
		}
		memory, differ := all.memory()
		history, agree := all.history()
		same := agree && all.said()
		st.LimitTo(memory)
		rooms := ""
		if differ {
			rooms = all.each(func(m Member) string { return m.Settings.memory() })
		}
		if rooms != uneven {
			if uneven = rooms; rooms != "" {
				r.o.Logger.Warn("nodes were started with different --max-memory, and the cluster takes no more data than fits where there is least: restart those that are wrong", "room_for_data", rooms)
			}
		}
		if now := all.sharedClients(); now != shared {
			if shared = now; now != "" {
				r.o.Logger.Warn("nodes tell clients the same address, so clients that are sent to one may come to another: give each its own with --listen or --advertise", "shared", now)
			}
		}
		in := r.historyNow()
		own := r.o.Settings
		if in.depth == 0 { // the log has to say how much history is kept, before another node joins
			history, same = Settings{History: st.HistoryDepth(), HistoryAge: st.HistoryAge()}, all.said() &&
				all.checkHistory(own) == nil
		}
		if leads && same && history.History > 0 && (in.depth != history.History || in.age != history.HistoryAge) {
			if err := st.SetHistory(history.History, history.HistoryAge); err != nil {
				r.o.Logger.Debug("how much history is kept could not be proposed", "error", err)
			}
		}
		if now := (Settings{History: in.depth, HistoryAge: in.age}); in.depth > 0 && own.Said && !same && !now.likeHistory(own) && now != warned {
			warned = now
			r.o.Logger.Warn("this node was started with another history than its cluster keeps, which it keeps too until all nodes are started with the same", "this", own.history(), "cluster", now.history())
		}
		if !n.pause(ctx, settlePause) {
			return
		}
	}
}

// room returns how much memory the store takes, once there is one, and whether the log says how much history is kept.
func (j *Journal) room() (used int64, settled bool) {
	return int64(j.store.Stats().MemoryBytes), !j.store.KeepsHistory() || j.historyNow().depth > 0
}

// historyFrom is how much history is kept from an entry of the log on.
type historyFrom struct {
	index uint64
	depth int // 0: the log has not said it
	age   time.Duration
}

// historyNow returns how much history is kept as of what was applied last.
func (j *Journal) historyNow() historyFrom {
	j.entry.Lock()
	defer j.entry.Unlock()
	return j.history[len(j.history)-1]
}

// historyAt returns how much history is kept as of an entry.
func (j *Journal) historyAt(index uint64) historyFrom {
	j.entry.Lock()
	defer j.entry.Unlock()
	at := j.history[0]
	for _, k := range j.history {
		if k.index <= index {
			at = k
		}
	}
	return at
}

// noteHistory notes what an entry's record says of the history. Called with entry held.
func (j *Journal) noteHistory(index uint64, e *store.Entry) {
	at := j.history[len(j.history)-1]
	depth, isDepth := e.Depth()
	age, isAge := e.Age()
	switch {
	case isDepth:
		at.depth = depth
	case isAge:
		at.age = age
	default:
		return
	}
	at.index = index
	j.history = append(j.history, at)
}
