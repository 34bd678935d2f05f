package store

import (
	"math/bits"
	"slices"
	"sync/atomic"
	"unsafe"
)

// bucket is the unit of copy-on-write: the few keys whose hashes share a segment and a slot. It is immutable once it is
// published in its slot; a writer copies it, changes the copy and publishes that with one atomic store. A reader loads
// the slot once and so sees one consistent state of all these keys.
//
// A bucket is one object: this header, then entry pointers, as many as it has; an extended one has bucketWidth of them
// and then a pointer to an extension. A pending or a moved bucket holds no keys: see pending and moved.
type bucket struct {
	// meta is, from the top, 56 bits of version: that of the last change to any of the bucket's keys, deletions included;
	// then the kind bits; then how many of the entry pointers below are used.
	meta uint64
	// tags has one byte of the hash of entry i in its byte i.
	tags uint64
}

const (
	bucketWidth  = 8
	bucketHeader = 16

	countMask    = 0x0f
	kindExtended = 0x10 // an extension follows the entries
	kindPending  = 0x20 // the bucket is a pending
	kindMoved    = 0x40 // the segment was split: look again from the directory

	versionShift = 8
)

// extension is what a bucket has beyond bucketWidth plain entries.
type extension struct {
	entries []*Entry // the ninth entry and on
	tags    []uint8  // theirs
	history []chain
}

// chain is what is kept of one key's past, newest first. If the key exists, its current entry is in the bucket and the
// chain begins with the one before it; if not, the chain begins with the deletion.
type chain []*Entry

// bucketOf gives the allocator, and so the collector, the shape of a bucket with what follows its header.
type bucketOf[T any] struct {
	bucket
	_ T
}

type extendedBucket struct {
	bucket
	entries [bucketWidth]*Entry
	ext     *extension
}

// pending stands in the slot of each bucket that an unfinished transaction changes. It resolves to next once the
// transaction is committed and to old until then; see commit.go.
type pending struct {
	bucket
	txn  *txn
	old  *bucket // nil: the slot was empty
	next *bucket // what the write makes of old so far; readers look only once txn.committed is set, and it is written only before

	// The rest is the writer's alone.
	hash   uint64 // of one key of the bucket
	slot   *slot
	effect effect
}

// moved poisons every slot of a segment that was split. What a reader loads from a slot was therefore current when it
// was loaded, even if the segment was looked up long before: the load is the read's linearization point.
var moved = &bucket{meta: kindMoved}

// allocBucket returns a bucket with room for n entries, n ≤ bucketWidth.
func allocBucket(n int) *bucket {
	switch n {
	case 0:
		return new(bucket)
	case 1:
		return &new(bucketOf[[1]*Entry]).bucket
	case 2:
		return &new(bucketOf[[2]*Entry]).bucket
	case 3:
		return &new(bucketOf[[3]*Entry]).bucket
	case 4:
		return &new(bucketOf[[4]*Entry]).bucket
	case 5:
		return &new(bucketOf[[5]*Entry]).bucket
	case 6:
		return &new(bucketOf[[6]*Entry]).bucket
	case 7:
		return &new(bucketOf[[7]*Entry]).bucket
	default:
		return &new(bucketOf[[8]*Entry]).bucket
	}
}

func (b *bucket) version() uint64 {
	if b == nil {
		return 0
	}
	return b.meta >> versionShift
}

// setVersion is for a bucket that is not published yet.
func (b *bucket) setVersion(v uint64) {
	b.meta = v<<versionShift | b.meta&(1<<versionShift-1)
}

// inline returns the entries that stand right behind the header.
func (b *bucket) inline() []*Entry {
	if b.meta&countMask == 0 {
		return nil // there may be nothing behind the header to point to
	}
	// Safe: allocBucket and extendedBucket give the object as many pointers here as the count says.
	return unsafe.Slice((**Entry)(unsafe.Add(unsafe.Pointer(b), bucketHeader)), b.meta&countMask)
}

// ext returns the extension; nil if there is none.
func (b *bucket) ext() *extension {
	if b == nil || b.meta&kindExtended == 0 {
		return nil
	}
	// Safe: only extendedBucket sets kindExtended.
	return (*extendedBucket)(unsafe.Pointer(b)).ext
}

// pending returns b, whose kind is pending, as that.
func (b *bucket) pending() *pending {
	// Safe: only pending sets kindPending.
	return (*pending)(unsafe.Pointer(b))
}

// resolve returns the bucket that b, which is not moved, stands for at this moment.
func (b *bucket) resolve() *bucket {
	if b == nil || b.meta&kindPending == 0 {
		return b
	}
	p := b.pending()
	if p.txn.committed.Load() {
		return p.next
	}
	return p.old
}

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// find returns the position and the entry of key, whose hash has this tag; -1 and nil if it is not there.
//
// The tags are compared all at once; see Mycroft's test for a zero byte, in Warren, "Hacker's Delight", 6-1. It may
// report a byte above a match that is none, which costs one comparison of keys.
func (b *bucket) find(tag uint8, key []byte) (int, *Entry) {
	if b == nil {
		return -1, nil
	}
	n := int(b.meta & countMask)
	x := b.tags ^ uint64(tag)*lowBits
	for m := (x - lowBits) &^ x & highBits; m != 0; m &= m - 1 {
		i := bits.TrailingZeros64(m) >> 3
		if i >= n {
			break
		}
		if e := b.at(i); e.is(key) {
			return i, e
		}
	}
	if b.meta&kindExtended != 0 {
		return b.ext().find(tag, key)
	}
	return -1, nil
}

// at returns entry i, which stands behind the header.
func (b *bucket) at(i int) *Entry {
	// Safe: as in inline.
	return *(**Entry)(unsafe.Add(unsafe.Pointer(b), bucketHeader+i*pointerSize))
}

// find is bucket.find for the entries of an extension.
func (x *extension) find(tag uint8, key []byte) (int, *Entry) {
	for i, e := range x.entries {
		if x.tags[i] == tag && e.is(key) {
			return bucketWidth + i, e
		}
	}
	return -1, nil
}

// each calls f for every current entry, with its tag.
func (b *bucket) each(f func(e *Entry, tag uint8)) {
	if b == nil {
		return
	}
	for i, e := range b.inline() {
		f(e, uint8(b.tags>>(8*i)))
	}
	if ext := b.ext(); ext != nil {
		for i, e := range ext.entries {
			f(e, ext.tags[i])
		}
	}
}

// chains returns the history of the bucket's keys.
func (b *bucket) chains() []chain {
	if ext := b.ext(); ext != nil {
		return ext.history
	}
	return nil
}

// chainOf returns the position of key's history; -1 if there is none.
func chainOf(history []chain, key []byte) int {
	return slices.IndexFunc(history, func(c chain) bool { return c[0].is(key) })
}

// load is what the bucket counts for in its segment: keys and kept histories.
func (b *bucket) load() int32 {
	if b == nil {
		return 0
	}
	n := int32(b.meta & countMask)
	if ext := b.ext(); ext != nil {
		n += int32(len(ext.entries) + len(ext.history))
	}
	return n
}

// likely returns an entry that has this tag, nil if there is none.
func (b *bucket) likely(tag uint8) *Entry {
	x := b.tags ^ uint64(tag)*lowBits
	i := bits.TrailingZeros64((x-lowBits)&^x&highBits) >> 3 // 8 if there is none
	if i >= int(b.meta&countMask) {
		return nil
	}
	return b.at(i)
}

// plain reports whether the bucket has no extension.
func (b *bucket) plain() bool { return b.meta&kindExtended == 0 }

// withEntry returns a copy in which e, with this tag, stands at position i, or is added if i is -1.
func (b *bucket) withEntry(i int, e *Entry, tag uint8) *bucket {
	if b == nil {
		c := allocBucket(1)
		c.meta, c.tags = 1, uint64(tag)
		c.inline()[0] = e
		return c
	}
	n := int(b.meta & countMask)
	if !b.plain() || i < 0 && n == bucketWidth {
		d := draftOf(b)
		if i < 0 {
			d.add(e, tag)
		} else {
			d.entries[i] = e
		}
		return d.build()
	}
	if i >= 0 {
		c := allocBucket(n)
		c.meta, c.tags = b.meta, b.tags
		copy(c.inline(), b.inline())
		c.inline()[i] = e
		return c
	}
	c := allocBucket(n + 1)
	c.meta, c.tags = b.meta+1, b.tags|uint64(tag)<<(8*n)
	copy(c.inline(), b.inline())
	c.inline()[n] = e
	return c
}

// withoutEntry returns a copy that lacks the entry at position i.
func (b *bucket) withoutEntry(i int) *bucket {
	if !b.plain() {
		d := draftOf(b)
		d.remove(i)
		return d.build()
	}
	last := int(b.meta&countMask) - 1
	c := allocBucket(last)
	c.meta = b.meta - 1
	c.tags = b.tags &^ (0xff << (8 * last))
	copy(c.inline(), b.inline())
	if i < last {
		c.inline()[i] = b.inline()[last]
		c.tags = c.tags&^(0xff<<(8*i)) | b.tags>>(8*last)&0xff<<(8*i)
	}
	return c
}

// slot is where a bucket is published: nil, a bucket, a pending or moved. The atomic publishes the bucket and all that it
// points to; only the holder of the shard's lock stores.
type slot struct {
	p atomic.Pointer[bucket]
}
