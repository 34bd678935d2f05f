package protocol

import "encoding/binary"

// Role is what a member of a cluster does.
type Role uint8

// The roles. The numbers are frozen.
const (
	Voter   Role = 1 // counts in majorities
	Learner Role = 2 // follows until it can vote
)

// ClusterMember is one server of a cluster, as another sees it.
type ClusterMember struct {
	ID        uint64
	Role      Role
	Reachable bool
	Matched   uint64 // up to where its log agrees with the leader's, as the leader knows it
	Client    string // the address that clients reach it at, at most 65535 bytes
	Peer      string // the address that the other members reach it at, at most 65535 bytes
}

// ClusterResponse is the answer to a CLUSTER.
type ClusterResponse struct {
	Cluster   uint64 // names the cluster; 0: the server is alone, and the rest is 0 too
	Node      uint64 // the server that answers
	Leader    uint64 // 0: it knows of none
	Term      uint64
	Committed uint64 // up to where its log is committed, as far as it knows
	Published uint64 // up to where it shows that to readers
	Members   []ClusterMember
}

// AppendTo appends the whole response frame of p.
func (p ClusterResponse) AppendTo(dst []byte, id uint32) []byte {
	n := 6*8 + 4
	for _, m := range p.Members {
		n += 8 + 1 + 1 + 8 + 2 + len(m.Client) + 2 + len(m.Peer)
	}
	dst = AppendHeader(dst, OpCluster, uint8(StatusOK), id, n)
	for _, u := range []uint64{p.Cluster, p.Node, p.Leader, p.Term, p.Committed, p.Published} {
		dst = binary.BigEndian.AppendUint64(dst, u)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(p.Members)))
	for _, m := range p.Members {
		dst = binary.BigEndian.AppendUint64(dst, m.ID)
		dst = append(dst, byte(m.Role), 0)
		if m.Reachable {
			dst[len(dst)-1] = 1
		}
		dst = binary.BigEndian.AppendUint64(dst, m.Matched)
		dst = appendShort(dst, m.Client)
		dst = appendShort(dst, m.Peer)
	}
	return dst
}

// ParseClusterResponse reads the OK body of a CLUSTER.
func ParseClusterResponse(body []byte) (ClusterResponse, error) {
	r := reader{b: body}
	p := ClusterResponse{Cluster: r.u64(), Node: r.u64(), Leader: r.u64(), Term: r.u64(), Committed: r.u64(), Published: r.u64()}
	for n := r.count(22); n > 0 && !r.bad; n-- {
		m := ClusterMember{ID: r.u64(), Role: Role(r.u8())}
		reachable := r.u8()
		m.Reachable = reachable == 1
		m.Matched = r.u64()
		m.Client, m.Peer = r.short(), r.short()
		r.bad = r.bad || reachable > 1 || m.Role != Voter && m.Role != Learner
		p.Members = append(p.Members, m)
	}
	if !r.done() {
		return p, malformedf("CLUSTER: an answer of %d bytes does not hold the members that it counts, and no more", len(body))
	}
	return p, nil
}

// Reads says how the reads of its connection are answered from now on.
type Reads struct {
	// Bound is how old what they find may be, in milliseconds; 0: they are linearizable, as they are from the start.
	Bound uint32
}

// The modes of a READS. The numbers are frozen.
const (
	readsLinearizable = 0
	readsBounded      = 1
)

// AppendTo appends the whole frame of r.
func (r Reads) AppendTo(dst []byte, id uint32) []byte {
	dst = AppendHeader(dst, OpReads, 0, id, 5)
	mode := byte(readsLinearizable)
	if r.Bound > 0 {
		mode = readsBounded
	}
	return binary.BigEndian.AppendUint32(append(dst, mode), r.Bound)
}

// ParseReads reads the body of a READS.
func ParseReads(body []byte) (Reads, error) {
	r := reader{b: body}
	mode, q := r.u8(), Reads{Bound: r.u32()}
	switch {
	case !r.done():
		return q, badf("READS needs 1 byte of mode and 4 of bound, and no more; the body has %d", len(body))
	case mode > readsBounded:
		return q, badf("READS with mode %d: it is 0 (linearizable) or 1 (no older than the bound)", mode)
	case (mode == readsBounded) != (q.Bound > 0):
		return q, badf("READS with mode %d and a bound of %d: mode 1 has a bound above 0 milliseconds, mode 0 has 0", mode, q.Bound)
	}
	return q, nil
}

// MemberChange is what a MEMBER does.
type MemberChange uint8

// The changes. The numbers are frozen.
const (
	MemberAdd      MemberChange = 1 // the server at the peer address joins
	MemberRemove   MemberChange = 2 // the member with the id leaves
	MemberTransfer MemberChange = 3 // the member with the id is to lead
)

// Member changes who is in the cluster, or who leads it.
type Member struct {
	Change MemberChange
	ID     uint64 // of the member; 0 in an add
	Peer   string // of an add: its peer address, at most 65535 bytes; else empty
}

// AppendTo appends the whole frame of r.
func (r Member) AppendTo(dst []byte, id uint32) []byte {
	dst = AppendHeader(dst, OpMember, 0, id, 1+8+2+len(r.Peer))
	dst = binary.BigEndian.AppendUint64(append(dst, byte(r.Change)), r.ID)
	return appendShort(dst, r.Peer)
}

// ParseMember reads the body of a MEMBER.
func ParseMember(body []byte) (Member, error) {
	r := reader{b: body}
	q := Member{Change: MemberChange(r.u8()), ID: r.u64(), Peer: r.short()}
	switch {
	case !r.done():
		return q, badf("MEMBER: a body of %d bytes does not hold a change, an id and a peer address, and no more", len(body))
	case q.Change < MemberAdd || q.Change > MemberTransfer:
		return q, badf("MEMBER: change %d is not 1 (add), 2 (remove) or 3 (transfer leadership)", q.Change)
	case q.Change == MemberAdd && (q.ID != 0 || q.Peer == ""):
		return q, badf("MEMBER: to add one takes its peer address, and no id")
	case q.Change != MemberAdd && (q.ID == 0 || q.Peer != ""):
		return q, badf("MEMBER: to remove or to let lead takes an id, and no peer address")
	}
	return q, nil
}

// appendShort appends a u16 length and s.
func appendShort(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

// short reads a u16 length and as many bytes.
func (r *reader) short() string { return string(r.bytes(uint64(r.u16()))) }
