package sim

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"kv/store/cluster"
)

// keys is how many keys there are: few, so that writes meet.
const keys = 6

// write is a record: what one write leaves of a key.
type write struct {
	version uint64
	op      uint64 // which request of which client; no two have the same
	key     uint64
	before  uint64 // the version that the key had, as the leader computed it
}

const writeSize = 32

func (w write) append(b []byte) []byte {
	for _, x := range []uint64{w.version, w.op, w.key, w.before} {
		b = binary.BigEndian.AppendUint64(b, x)
	}
	return b
}

func parseWrites(b []byte) (all []write) {
	for ; len(b) >= writeSize; b = b[writeSize:] {
		u64 := func(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
		all = append(all, write{u64(0), u64(8), u64(16), u64(24)})
	}
	return all
}

// state is what a replica holds: of each key the last write.
type state map[uint64]write

// sum is the same for two states with the same content, whatever the order in which they came to be.
func (s state) sum() (sum uint64) {
	for _, w := range s {
		h := crc32.ChecksumIEEE(w.append(nil))
		sum += uint64(h) * 0x9e3779b97f4a7c15
	}
	return sum
}

// machine is the state machine: the map of a store, and what is ahead of it.
type machine struct {
	state     state
	published uint64 // the highest version in it
	index     uint64
	whole     uint64

	// The leader's.
	epoch uint64
	last  uint64            // the last version that was given
	ahead map[uint64]uint64 // the versions that keys will have
	fate  cluster.Fate      // of what was given in the last epoch that has ended
}

func newMachine() *machine { return &machine{state: state{}, ahead: map[uint64]uint64{}} }

// current returns the version that a key has or will have.
func (m *machine) current(key uint64) uint64 {
	if v, ok := m.ahead[key]; ok {
		return v
	}
	return m.state[key].version
}

// propose appends a write to the open batch.
func (m *machine) propose(p *cluster.Proposals, op, key uint64) (w write, b *cluster.Batch, err error) {
	b, err = p.Append(func(payload []byte) ([]byte, uint64) {
		if e := p.Epoch(); e != m.epoch {
			m.epoch, m.last = e, m.published
		}
		m.last++
		w = write{m.last, op, key, m.current(key)}
		return w.append(payload), w.version
	})
	if err == nil {
		m.ahead[key] = w.version
	}
	return w, b, err
}

func (m *machine) abandon(term uint64) {
	clear(m.ahead)
	m.fate.End(m.epoch, term, m.published)
}

// apply publishes a write. While the state is not whole, it may have what comes later in the log.
func (m *machine) apply(index uint64, w write) error {
	old := m.state[w.key]
	if whole := m.index >= m.whole; whole && old.version != w.before {
		return fmt.Errorf("C3: entry %d: op %d replaces version %d of key %d, and its leader saw version %d",
			index, w.op, old.version, w.key, w.before)
	} else if !whole && old.version >= w.version {
		return nil
	}
	m.state[w.key] = w
	m.published = max(m.published, w.version)
	if m.ahead[w.key] <= w.version {
		delete(m.ahead, w.key)
	}
	return nil
}

// snapshot is a walk of a live state: it begins with what is published at an index, and has parts that are newer.
type snapshot struct {
	base  cluster.Base
	whole uint64
	state state
}

// walk copies the keys from..to of the state.
func (s *snapshot) walk(m *machine, from, to uint64) {
	for k := from; k < to; k++ {
		if w, ok := m.state[k]; ok {
			s.state[k] = w
		}
	}
}

func (s *snapshot) encode() []byte {
	conf, err := proto.Marshal(s.base.Conf)
	if err != nil {
		panic(err)
	}
	var b []byte
	members := s.base.Members.Encode()
	for _, x := range []uint64{s.base.Index, s.base.Term, s.whole, uint64(len(conf)), uint64(len(members)),
		uint64(s.base.Format)} {
		b = binary.BigEndian.AppendUint64(b, x)
	}
	b = append(append(b, conf...), members...)
	for _, k := range slices.Sorted(maps.Keys(s.state)) {
		b = s.state[k].append(b)
	}
	return b
}

func decodeSnapshot(b []byte) (*snapshot, error) {
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
	s := &snapshot{whole: u64(16), state: state{}}
	s.base = cluster.Base{Index: u64(0), Term: u64(8), Conf: &pb.ConfState{}, Format: uint16(u64(40))}
	n, m := int(u64(24)), int(u64(32))
	if err := proto.Unmarshal(b[48:48+n], s.base.Conf); err != nil {
		return nil, err
	}
	var err error
	if s.base.Members, err = cluster.DecodeMembers(b[48+n : 48+n+m]); err != nil {
		return nil, err
	}
	for _, w := range parseWrites(b[48+n+m:]) {
		s.state[w.key] = w
	}
	return s, nil
}

// install puts a snapshot in the place of the state.
func (m *machine) install(s *snapshot) {
	m.state, m.index, m.whole = maps.Clone(s.state), s.base.Index, s.whole
	m.published = 0
	for _, w := range m.state {
		m.published = max(m.published, w.version)
	}
	clear(m.ahead)
}
