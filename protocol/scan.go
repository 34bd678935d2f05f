package protocol

import "encoding/binary"

// Scan asks for one page of the keys that begin with Prefix, in an order of the server's own.
type Scan struct {
	WithMeta, WithValues bool
	Limit                uint32 // about how many keys a page has, at most; 0: as the server likes
	Cursor               []byte // empty: the first page; else as the page before gave it; at most 65535 bytes
	Prefix               []byte
}

// AppendTo appends the whole frame of r.
func (r Scan) AppendTo(dst []byte, id uint32) []byte {
	var flags uint8
	if r.WithMeta {
		flags |= FlagWithMeta
	}
	if r.WithValues {
		flags |= FlagWithValues
	}
	dst = AppendHeader(dst, OpScan, flags, id, 6+len(r.Cursor)+len(r.Prefix))
	dst = binary.BigEndian.AppendUint32(dst, r.Limit)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Cursor)))
	dst = append(dst, r.Cursor...)
	return append(dst, r.Prefix...)
}

// ParseScan reads the body of a SCAN.
func ParseScan(flags uint8, body []byte) (Scan, error) {
	r := reader{b: body}
	q := Scan{WithMeta: flags&FlagWithMeta != 0, WithValues: flags&FlagWithValues != 0, Limit: r.u32()}
	q.Cursor = r.bytes(uint64(r.u16()))
	q.Prefix = r.rest()
	if r.bad {
		return q, badf("SCAN: the body of %d bytes is shorter than its cursor says", len(body))
	}
	return q, nil
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

// ScanHeadSize is how long the body of an answer to SCAN is without its items.
func ScanHeadSize(cursor []byte) int { return 6 + len(cursor) }

// AppendScanHead appends the header and the body's head of the answer to a SCAN. n items follow; bodySize counts them too.
func AppendScanHead(dst []byte, id uint32, bodySize int, cursor []byte, n int) []byte {
	dst = AppendHeader(dst, OpScan, uint8(StatusOK), id, bodySize)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(cursor)))
	dst = append(dst, cursor...)
	return AppendLength(dst, n)
}

// ScanItemSize is how many bytes an item takes whose key and value have so many. An item is its key, with AppendLength
// before it; then, with AppendMeta, version and expiry, where they were asked for; then its value, where that was asked
// for, as the key.
func ScanItemSize(key, value int, withMeta, withValues bool) int {
	size := 4 + key
	if withMeta {
		size += MetaSize
	}
	if withValues {
		size += 4 + value
	}
	return size
}

// AppendTo appends the whole response frame of p, with the parts that the request asked for.
func (p ScanPage) AppendTo(dst []byte, id uint32, withMeta, withValues bool) []byte {
	size := ScanHeadSize(p.Cursor)
	for _, it := range p.Items {
		size += ScanItemSize(len(it.Key), len(it.Value), withMeta, withValues)
	}
	dst = AppendScanHead(dst, id, size, p.Cursor, len(p.Items))
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
