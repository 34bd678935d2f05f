package table

import (
	"sync/atomic"
	"unsafe"

	"kv/store/arena"
)

// The layouts, in bytes; all in one or more whole lines of memory, but for the directory.
//
//	directory  u64 for each index: where a segment is, in bytes, <<8 | its lines - 1, which masks a hash
//	segment    0 i32 count | 4 i32 limit | 8 u8 depth | .. 64: its lines
//	line       0 u64 version of the last deletion of one of its keys, and in the top 11 bits marks: see evict.go
//	           8 u8 tags[11] | 19 0
//	           20 u32 refs[11]
//	overflow   as a line, but 0 is kindLine<<8, below the marks, so that it can be told from an entry
//
// The last place of a line has an entry or, if there are more keys than places, an overflow line. A segment of 1, 2, 4 lines has
// an object of just so many lines of memory; one of 32 is 2112 bytes.
const (
	lineSize     = 64
	segmentLines = 64 // where the lines of a segment begin
	lineTags     = 8
	lineRefs     = 20
	places       = 11
	lastPlace    = places - 1

	// refMoved is what the places of a moved line hold. No object has this reference.
	refMoved = 1

	// fullAt is how many keys a line has on average when its segment grows.
	fullAt = 8
)

// segment is a segment, with its number of lines.
type segment struct {
	p     unsafe.Pointer
	ref   arena.Ref
	lines int
}

func (g segment) count() *int32 { return (*int32)(g.p) }
func (g segment) limit() *int32 { return (*int32)(unsafe.Add(g.p, 4)) }
func (g segment) depth() *uint8 { return (*uint8)(unsafe.Add(g.p, 8)) }

func (g segment) line(i int) line { return line{unsafe.Add(g.p, segmentLines+i*lineSize)} }

// of returns the line of a hash.
func (g segment) of(h uint64) line { return g.line(int(h) & (g.lines - 1)) }

// word is what stands in a directory for the segment.
func (g segment) word(t *Table) uint64 { return t.offset(g.ref)<<8 | uint64(g.lines-1) }

func (t *Table) segment(word uint64) segment {
	return segment{t.place(word >> 8), t.refOf(word >> 8), int(word&0xff) + 1}
}

// newSegment makes one whose lines are empty; ok is false if there is no memory.
func (sh *Shard) newSegment(lines int, depth uint8, must bool) (g segment, ok bool) {
	n := segmentLines + lines*lineSize
	r, ok := sh.alloc(n, must)
	if !ok {
		return g, false
	}
	g = segment{sh.table.at(r), r, lines}
	clear(unsafe.Slice((*uint64)(g.p), n/8))
	*g.depth() = depth
	*g.limit() = int32(lines * fullAt)
	return g, true
}

// line is a line, or an overflow line.
type line struct{ p unsafe.Pointer }

// deleted has the version of the last deletion of a key of the line, and marks.
func (l line) deleted() *atomic.Uint64 { return (*atomic.Uint64)(l.p) }

// removal returns the version of the last deletion of a key of the line, which a reader of an absent key has to know.
func (l line) removal() uint64 { return l.deleted().Load() & deletedMask }

// tags returns the tags of the first eight places.
func (l line) tags() *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Add(l.p, lineTags)) }

// lastTags returns the tags of the others, in the low three bytes.
func (l line) lastTags() *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Add(l.p, lineTags+8)) }

func (l line) ref(i int) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Add(l.p, lineRefs+i*4)) }

// setTag stores the tag of a place. The shard is locked.
func (l line) setTag(i int, tag uint8) {
	if i < 8 {
		w := l.tags().Load()
		l.tags().Store(w&^(0xff<<(8*i)) | uint64(tag)<<(8*i))
		return
	}
	i -= 8
	w := l.lastTags().Load()
	l.lastTags().Store(w&^(0xff<<(8*i)) | uint32(tag)<<(8*i))
}

func (l line) tag(i int) uint8 {
	if i < 8 {
		return uint8(l.tags().Load() >> (8 * i))
	}
	return uint8(l.lastTags().Load() >> (8 * (i - 8)))
}

// headerAt returns the first word of an object, which may be a line whose marks change.
func headerAt(p unsafe.Pointer) uint64 { return atomic.LoadUint64((*uint64)(p)) }

// kindAt returns the kind of an object.
func kindAt(p unsafe.Pointer) uint64 { return headerAt(p) & kindMask >> kindShift }

// overflow returns the overflow line behind l, if there is one. l is not moved.
func (t *Table) overflow(r arena.Ref) (line, bool) {
	if r <= refMoved {
		return line{}, false
	}
	p := t.at(r)
	if kindAt(p) != kindLine {
		return line{}, false
	}
	return line{p}, true
}

// directory is a directory, with how a hash becomes an index.
type directory struct {
	p     unsafe.Pointer
	ref   arena.Ref
	shift uint8 // 63 - depth
}

func (d directory) depth() uint8 { return 63 - d.shift }

// index returns where the word of a hash is: its first depth bits behind the shard's, which may be none.
func (d directory) index(h uint64) int { return int(h << shardBits >> 1 >> (d.shift & 63)) }

func (d directory) word(i int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Add(d.p, i*8)) }

func (d directory) root(t *Table) uint64 { return t.offset(d.ref)<<8 | uint64(d.shift) }

func (t *Table) directory(root uint64) directory {
	return directory{t.place(root >> 8), t.refOf(root >> 8), uint8(root)}
}

// newDirectory makes one whose words are to be stored before it is shown.
func (sh *Shard) newDirectory(depth uint8, must bool) (d directory, ok bool) {
	r, ok := sh.alloc(8<<depth, must)
	if !ok {
		return d, false
	}
	return directory{sh.table.at(r), r, 63 - depth}, true
}

// word returns what the directory has for a hash, by way of the root: see segment.word.
func (t *Table) word(h uint64) uint64 {
	root := t.roots[h>>(64-shardBits)].Load()
	d := directory{p: t.place(root >> 8), shift: uint8(root)}
	return d.word(d.index(h)).Load()
}

// lineIn returns the line of a hash in the segment that a directory's word shows: that of the hash's low bits.
func lineIn(word uint64, t *Table, h uint64) line {
	return line{unsafe.Add(t.place(word>>8), segmentLines+h&word&(maxLines-1)*lineSize)}
}

// from returns where the line is, from the table's base on.
func (l line) from(t *Table) uintptr { return uintptr(l.p) - uintptr(t.base) }

// line returns the line of a hash, by way of the root.
func (t *Table) line(h uint64) line { return lineIn(t.word(h), t, h) }
