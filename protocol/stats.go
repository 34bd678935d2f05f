package protocol

import "encoding/binary"

// Stat is one named figure of STATS.
type Stat struct {
	Name  string // at most 65535 bytes
	Value uint64
}

// AppendStats appends the response of a STATS.
func AppendStats(dst []byte, id uint32, stats []Stat) []byte {
	n := 4
	for _, s := range stats {
		n += 10 + len(s.Name)
	}
	dst = AppendHeader(dst, OpStats, uint8(StatusOK), id, n)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(stats)))
	for _, s := range stats {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(s.Name)))
		dst = binary.BigEndian.AppendUint64(dst, s.Value)
		dst = append(dst, s.Name...)
	}
	return dst
}

// ParseStats reads the OK body of a STATS.
func ParseStats(body []byte) ([]Stat, error) {
	r := reader{b: body}
	var stats []Stat
	for n := r.count(10); n > 0 && !r.bad; n-- {
		size, value := r.u16(), r.u64()
		stats = append(stats, Stat{string(r.bytes(uint64(size))), value})
	}
	if !r.done() {
		return nil, malformedf("STATS: an answer of %d bytes does not hold the figures that it counts, and no more", len(body))
	}
	return stats, nil
}
