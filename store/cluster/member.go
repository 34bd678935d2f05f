package cluster

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
)

// Member is a node of the cluster, and where it is reached.
type Member struct {
	ID     uint64
	Client string // host:port, at which clients are served
	Peer   string // host:port, for the other members
	// Replaces is the member whose place this member takes once it has all data; 0: none.
	Replaces uint64
	Formats  Formats // the formats that it reads
	Settings Settings
}

// is reports whether a member says of itself what is known of it.
func (m Member) is(own Member) bool {
	own.Replaces = m.Replaces
	return m == own
}

// as returns the member as a format has it.
func (m Member) as(format uint16) Member {
	if format < formatSettings {
		m.Settings = Settings{}
	}
	return m
}

// as returns the members as a format has them.
func (all Members) as(format uint16) Members {
	other := Members{}
	for id, m := range all {
		other[id] = m.as(format)
	}
	return other
}

const (
	// memberHead is how long what is before a member's addresses is, without settings.
	memberHead = 20
	// hasSettings is in the place of the oldest format that it reads, beside that, where settings follow.
	hasSettings = 1 << 15
)

// append appends id and replaces (u64), the oldest and the newest format that it reads (u16), with hasSettings memory
// (u64), history (u32) and age (u64), and its addresses for clients and for members, each behind its length (u16).
func (m Member) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, m.ID)
	b = binary.BigEndian.AppendUint64(b, m.Replaces)
	oldest := m.Formats.Oldest
	if m.Settings.Said {
		oldest |= hasSettings
	}
	b = binary.BigEndian.AppendUint16(b, oldest)
	b = binary.BigEndian.AppendUint16(b, m.Formats.Newest)
	if m.Settings.Said {
		b = m.Settings.append(b)
	}
	for _, s := range []string{m.Client, m.Peer} {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
	}
	return b
}

// Members are those of a cluster, by id: learners too.
type Members map[uint64]Member

// without reports whether a node is none of them. Where nobody is known, a node that has joined has not learned of the
// members yet.
func (all Members) without(id uint64) bool {
	_, member := all[id]
	return len(all) > 0 && !member
}

// Addresses returns where the members are.
func (all Members) Addresses() map[uint64]string {
	addresses := make(map[uint64]string, len(all))
	for id, m := range all {
		addresses[id] = m.Peer
	}
	return addresses
}

// Encode returns the members as bytes, always the same for the same ones.
func (all Members) Encode() []byte {
	var b []byte
	for _, id := range slices.Sorted(maps.Keys(all)) {
		b = all[id].append(b)
	}
	return b
}

// DecodeMembers reads what Encode has written.
func DecodeMembers(b []byte) (Members, error) {
	all := Members{}
	for len(b) > 0 {
		if len(b) < memberHead {
			return nil, errBadMembers
		}
		m := Member{
			ID: binary.BigEndian.Uint64(b), Replaces: binary.BigEndian.Uint64(b[8:]),
			Formats: Formats{binary.BigEndian.Uint16(b[16:]), binary.BigEndian.Uint16(b[18:])},
		}
		b = b[memberHead:]
		if m.Formats.Oldest&hasSettings != 0 {
			if len(b) < settingsSize {
				return nil, errBadMembers
			}
			m.Formats.Oldest &^= hasSettings
			m.Settings, b = parseSettings(b), b[settingsSize:]
		}
		for _, s := range []*string{&m.Client, &m.Peer} {
			if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
				return nil, errBadMembers
			}
			n := int(binary.BigEndian.Uint16(b))
			*s, b = string(b[2:2+n]), b[2+n:]
		}
		all[m.ID] = m
	}
	return all, nil
}

var errBadMembers = errors.New("the list of the members can't be read")
