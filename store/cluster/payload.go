package cluster

import (
	"encoding/binary"

	"kv/store"
	"kv/store/wal/record"
)

// records are those of an entry's payload.
type records struct {
	versions []uint64
	ends     []int          // where each one's entries end
	entries  []*store.Entry // of all
}

// parse reads a payload, in place of what was there.
func (r *records) parse(payload []byte) error {
	r.clear()
	var x record.Entry
	for b := payload; len(b) > 0; {
		if len(b) < 12 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) || binary.BigEndian.Uint32(b) < 8 {
			return errNoBatch
		}
		n := binary.BigEndian.Uint32(b)
		body := b[4 : 4+n]
		b = b[4+n:]
		version := binary.BigEndian.Uint64(body)
		for rest := body[8:]; len(rest) > 0; {
			var ok bool
			if rest, ok = record.ParseEntry(rest, &x); !ok {
				return errNoBatch
			}
			r.entries = append(r.entries, x.Make(version))
		}
		r.versions, r.ends = append(r.versions, version), append(r.ends, len(r.entries))
	}
	return nil
}

// spareRecords is for how many entries there is room between two payloads.
const spareRecords = 4 << 10

// clear forgets them.
func (r *records) clear() {
	if cap(r.entries) > spareRecords || cap(r.versions) > spareRecords {
		*r = records{}
		return
	}
	clear(r.entries)
	r.versions, r.ends, r.entries = r.versions[:0], r.ends[:0], r.entries[:0]
}

// appendRecord appends a record to a payload.
func appendRecord(payload []byte, version uint64, entries []*store.Entry) []byte {
	payload = binary.BigEndian.AppendUint32(payload, 0)
	at := len(payload)
	payload = binary.BigEndian.AppendUint64(payload, version)
	payload = record.AppendEntries(payload, entries)
	binary.BigEndian.PutUint32(payload[at-4:], uint32(len(payload)-at))
	return payload
}

// eachRecord gives the records of an entry's payload to f, in order.
func eachRecord(payload []byte, f func(version uint64, entries []*store.Entry) error) error {
	var r records
	if err := r.parse(payload); err != nil {
		return err
	}
	at := 0
	for i, version := range r.versions {
		if err := f(version, r.entries[at:r.ends[i]]); err != nil {
			return err
		}
		at = r.ends[i]
	}
	return nil
}
