package protocol

import "encoding/binary"

// Meta is what the store knows of a value besides its bytes.
type Meta struct {
	Version uint64
	Expiry  uint64 // Unix milliseconds; 0: none
}

// MetaSize is the size of a Meta in a body.
const MetaSize = 16

// AppendMeta appends m as bodies carry it.
func AppendMeta(dst []byte, m Meta) []byte {
	dst = binary.BigEndian.AppendUint64(dst, m.Version)
	return binary.BigEndian.AppendUint64(dst, m.Expiry)
}

func (r *reader) meta() Meta { return Meta{r.u64(), r.u64()} }

// Value is one answer about a key: its value, or that there is none.
type Value struct {
	Found bool
	Data  []byte // points into the response's body
	Meta         // zero unless it was asked for
}

// value reads a u32 length, or Absent, then the meta if it was asked for, then the bytes.
func (r *reader) value(withMeta bool) Value {
	n := r.u32()
	if n == Absent || r.bad {
		return Value{}
	}
	v := Value{Found: true}
	if withMeta {
		v.Meta = r.meta()
	}
	v.Data = r.bytes(uint64(n))
	return v
}

// ParseValue reads the OK body of a GET.
func ParseValue(withMeta bool, body []byte) (Value, error) {
	r := reader{b: body}
	v := Value{Found: true}
	if withMeta {
		v.Meta = r.meta()
	}
	v.Data = r.rest()
	if r.bad {
		return v, malformedf("GET: an answer of %d bytes has no room for version and expiry", len(body))
	}
	return v, nil
}

// ParseVersion reads the OK body of a SET, an MSET, a ROLLBACK, an EXPIRE or a PERSIST.
func ParseVersion(body []byte) (uint64, error) {
	r := reader{b: body}
	v := r.u64()
	if !r.done() {
		return 0, malformedf("an answer of %d bytes where a version has 8", len(body))
	}
	return v, nil
}

// AppendVersion appends the response of a SET, an MSET, a ROLLBACK, an EXPIRE or a PERSIST.
func AppendVersion(dst []byte, op Opcode, id uint32, version uint64) []byte {
	dst = AppendHeader(dst, op, uint8(StatusOK), id, 8)
	return binary.BigEndian.AppendUint64(dst, version)
}

// AppendDeleted appends the response of a DEL.
func AppendDeleted(dst []byte, id uint32, existed uint32, version uint64) []byte {
	dst = AppendHeader(dst, OpDel, uint8(StatusOK), id, 12)
	dst = binary.BigEndian.AppendUint32(dst, existed)
	return binary.BigEndian.AppendUint64(dst, version)
}

// ParseDeleted reads the OK body of a DEL: how many keys existed, and the version of their deletion.
func ParseDeleted(body []byte) (existed uint32, version uint64, err error) {
	r := reader{b: body}
	existed, version = r.u32(), r.u64()
	if !r.done() {
		return 0, 0, malformedf("DEL: an answer of %d bytes, not 12", len(body))
	}
	return existed, version, nil
}

// ParseValues reads the OK body of an MGET and appends its values to dst.
func ParseValues(dst []Value, withMeta bool, body []byte) ([]Value, error) {
	r := reader{b: body}
	for n := r.count(4); n > 0 && !r.bad; n-- {
		dst = append(dst, r.value(withMeta))
	}
	if !r.done() {
		return dst, malformedf("MGET: an answer of %d bytes does not hold the values that it counts, and no more", len(body))
	}
	return dst, nil
}

// TxnResult is the answer to one operation of a transaction.
type TxnResult struct {
	Kind    TxnKind
	Value   Value // TxnGet
	Existed bool  // TxnDel
}

// TxnResponse is the answer to a transaction that was applied.
type TxnResponse struct {
	Version uint64 // of what it wrote; 0 when it wrote nothing
	Results []TxnResult
}

// ParseTxnResponse reads the OK body of a TXN.
func ParseTxnResponse(withMeta bool, body []byte) (TxnResponse, error) {
	r := reader{b: body}
	p := TxnResponse{Version: r.u64()}
	for n := r.count(1); n > 0 && !r.bad; n-- {
		t := TxnResult{Kind: TxnKind(r.u8())}
		switch t.Kind {
		case TxnGet:
			t.Value = r.value(withMeta)
		case TxnSet, TxnSetAt:
		case TxnDel:
			existed := r.u8()
			t.Existed = existed == 1
			r.bad = r.bad || existed > 1
		default:
			r.bad = true
		}
		p.Results = append(p.Results, t)
	}
	if !r.done() {
		return p, malformedf("TXN: an answer of %d bytes does not hold the results that it counts, and no more", len(body))
	}
	return p, nil
}

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

// HelloResponse is what a server says of itself.
type HelloResponse struct {
	Version  uint16 // the protocol version that both will speak: the lower of the two sides' highest
	Limit    uint32 // the server's frame limit, in bytes of length
	Instance uint64 // names this run of the server; cursors and backups do not outlive it
	Server   string // the server's name and version, for a person
}

// AppendTo appends the whole response frame of p.
func (p HelloResponse) AppendTo(dst []byte, id uint32) []byte {
	dst = AppendHeader(dst, OpHello, uint8(StatusOK), id, 14+len(p.Server))
	dst = binary.BigEndian.AppendUint16(dst, p.Version)
	dst = binary.BigEndian.AppendUint32(dst, p.Limit)
	dst = binary.BigEndian.AppendUint64(dst, p.Instance)
	return append(dst, p.Server...)
}

// ParseHelloResponse reads the OK body of a HELLO.
func ParseHelloResponse(body []byte) (HelloResponse, error) {
	r := reader{b: body}
	p := HelloResponse{Version: r.u16(), Limit: r.u32(), Instance: r.u64(), Server: string(r.rest())}
	if r.bad {
		return p, malformedf("HELLO: an answer of %d bytes is shorter than 14", len(body))
	}
	return p, nil
}

// ScanItem is one key of a page, with what was asked of it.
type ScanItem struct {
	Key   []byte
	Value []byte // nil unless values were asked for
	Meta         // zero unless it was asked for
}

// ScanPage is one page of a scan.
type ScanPage struct {
	Cursor []byte // empty: this was the last page
	Items  []ScanItem
}

// AppendTo appends the whole response frame of p, with the parts that the request asked for.
func (p ScanPage) AppendTo(dst []byte, id uint32, withMeta, withValues bool) []byte {
	n := 6 + len(p.Cursor)
	for _, it := range p.Items {
		n += 4 + len(it.Key)
		if withMeta {
			n += MetaSize
		}
		if withValues {
			n += 4 + len(it.Value)
		}
	}
	dst = AppendHeader(dst, OpScan, uint8(StatusOK), id, n)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(p.Cursor)))
	dst = append(dst, p.Cursor...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(p.Items)))
	for _, it := range p.Items {
		dst = appendBytes(dst, it.Key)
		if withMeta {
			dst = AppendMeta(dst, it.Meta)
		}
		if withValues {
			dst = appendBytes(dst, it.Value)
		}
	}
	return dst
}

// ParseScanPage reads the OK body of a SCAN.
func ParseScanPage(withMeta, withValues bool, body []byte) (ScanPage, error) {
	r := reader{b: body}
	p := ScanPage{Cursor: r.bytes(uint64(r.u16()))}
	for n := r.count(4); n > 0 && !r.bad; n-- {
		it := ScanItem{Key: r.bytes(uint64(r.u32()))}
		if withMeta {
			it.Meta = r.meta()
		}
		if withValues {
			it.Value = r.bytes(uint64(r.u32()))
		}
		p.Items = append(p.Items, it)
	}
	if !r.done() {
		return p, malformedf("SCAN: an answer of %d bytes does not hold the keys that it counts, and no more", len(body))
	}
	return p, nil
}

// PurgeResponse is the answer to a PURGE.
type PurgeResponse struct {
	Erased  uint64 // how many versions went, deletions included
	Version uint64 // of the erasure; 0: there was nothing to erase, nor anybody to be told
	Cursor  []byte // by prefix: of the next page; empty: this was the last
}

// AppendTo appends the whole response frame of p.
func (p PurgeResponse) AppendTo(dst []byte, id uint32) []byte {
	dst = AppendHeader(dst, OpPurge, uint8(StatusOK), id, 16+len(p.Cursor))
	dst = binary.BigEndian.AppendUint64(dst, p.Erased)
	dst = binary.BigEndian.AppendUint64(dst, p.Version)
	return append(dst, p.Cursor...)
}

// ParsePurgeResponse reads the OK body of a PURGE.
func ParsePurgeResponse(body []byte) (PurgeResponse, error) {
	r := reader{b: body}
	p := PurgeResponse{Erased: r.u64(), Version: r.u64(), Cursor: r.rest()}
	if r.bad {
		return p, malformedf("PURGE: an answer of %d bytes, fewer than 16", len(body))
	}
	return p, nil
}

// Revision is one kept version of a key: a value, or its deletion.
type Revision struct {
	Version uint64
	Time    uint64 // when it was written, in Unix microseconds
	Value   Value  // not found: this version is a deletion
}

// AppendHistory appends the response of a HISTORY.
func AppendHistory(dst []byte, id uint32, revisions []Revision) []byte {
	n := 4
	for _, v := range revisions {
		n += 20 + len(v.Value.Data)
	}
	dst = AppendHeader(dst, OpHistory, uint8(StatusOK), id, n)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(revisions)))
	for _, v := range revisions {
		dst = binary.BigEndian.AppendUint64(dst, v.Version)
		dst = binary.BigEndian.AppendUint64(dst, v.Time)
		if v.Value.Found {
			dst = appendBytes(dst, v.Value.Data)
		} else {
			dst = binary.BigEndian.AppendUint32(dst, Absent)
		}
	}
	return dst
}

// ParseHistoryResponse reads the OK body of a HISTORY.
func ParseHistoryResponse(body []byte) ([]Revision, error) {
	r := reader{b: body}
	var revisions []Revision
	for n := r.count(20); n > 0 && !r.bad; n-- {
		v := Revision{Version: r.u64(), Time: r.u64()}
		v.Value = r.value(false)
		revisions = append(revisions, v)
	}
	if !r.done() {
		return nil, malformedf("HISTORY: an answer of %d bytes does not hold the versions that it counts, and no more", len(body))
	}
	return revisions, nil
}

// SnapshotResponse says what a SNAPSHOT wrote.
type SnapshotResponse struct {
	Version uint64 // every write up to this version is in it
	Bytes   uint64 // its size
}

// AppendTo appends the whole response frame of p.
func (p SnapshotResponse) AppendTo(dst []byte, id uint32) []byte {
	dst = AppendHeader(dst, OpSnapshot, uint8(StatusOK), id, 16)
	dst = binary.BigEndian.AppendUint64(dst, p.Version)
	return binary.BigEndian.AppendUint64(dst, p.Bytes)
}

// ParseSnapshotResponse reads the OK body of a SNAPSHOT.
func ParseSnapshotResponse(body []byte) (SnapshotResponse, error) {
	r := reader{b: body}
	p := SnapshotResponse{Version: r.u64(), Bytes: r.u64()}
	if !r.done() {
		return p, malformedf("SNAPSHOT: an answer of %d bytes, not 16", len(body))
	}
	return p, nil
}

// BackupResponse is one chunk of a backup. The chunks in order are the backup.
type BackupResponse struct {
	Handle uint64 // what the next request continues with; 0: this was the last chunk
	Chunk  []byte // empty only in the last
}

// AppendTo appends the whole response frame of p.
func (p BackupResponse) AppendTo(dst []byte, id uint32) []byte {
	dst = AppendHeader(dst, OpBackup, uint8(StatusOK), id, 8+len(p.Chunk))
	dst = binary.BigEndian.AppendUint64(dst, p.Handle)
	return append(dst, p.Chunk...)
}

// ParseBackupResponse reads the OK body of a BACKUP.
func ParseBackupResponse(body []byte) (BackupResponse, error) {
	r := reader{b: body}
	p := BackupResponse{Handle: r.u64(), Chunk: r.rest()}
	if r.bad || p.Handle != 0 && len(p.Chunk) == 0 {
		return p, malformedf("BACKUP: an answer of %d bytes has no handle, or no chunk and yet is not the last", len(body))
	}
	return p, nil
}
