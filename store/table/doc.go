// Package table is a hash table from keys to entries in memory that the garbage collector does not see, made for many
// readers. A reader takes no lock; it writes to memory only to announce itself, in a cell of its own, once for many reads. A
// writer locks one shard and changes a few words in place.
//
// A table knows entries, versions, and which of them are current. Conditions, clocks, journals and limits are its user's,
// who looks and writes with the shard locked.
//
// # The way to a key
//
//	hash, 64 bits, from the top:  6 shard | directory | ... | 8 tag | 5 line
//
//	Table.roots[shard] --> directory --> segment --> line --> entry
//
// A directory is indexed by the hash bits below the shard's; a segment has 1 to 32 lines of 64 bytes; a line has places
// for 11 keys, a tag (a byte of the hash) and a reference for each; what a reference leads to, the entry, is an
// immutable object with version, lengths, key and value. So a lookup touches two lines of memory that are not in the
// processor's caches anyway: line and entry.
//
// This is extendible hashing (Fagin et al., TODS 1979) with segments (Lu et al., "Dash", VLDB 2020). A segment that is full gets
// twice the lines, and one that has 32 is split in two.
//
// # How a write is published
//
//   - One key: the entry is made, and one atomic store puts its reference in the key's place. If the key is new, its tag is
//     stored after that. A deletion stores 0.
//   - Many keys: each place is given a switch, an object that leads to the old entry, the new entry and the transaction, and
//     means the old entry until the transaction is committed. One atomic store commits it, and all switches mean the new
//     entries. Last, the places get the references of the new entries. See [Txn].
//   - A segment that grows: the new segments are made before the directory shows them. Then every reference of the old one is
//     overwritten with refMoved, and only then is the lock released, so that the new ones can be written to.
//
// # What must hold
//
//   - I1 Only the holder of a shard's lock stores to its root, directory, segments, lines and switches. The exception are the
//     marks of a cache, which readers set, by atomic operations of their own: see evict.go.
//   - I2 Whatever a reader can reach was complete before the store that made it reachable. Of published objects, only words
//     of lines, words of directories and txn.committed change, each by one atomic operation. The exception is a table that is
//     loaded before it has a reader: see [Table.Loading].
//   - I3 A key is in at most one place of its line and the overflow lines behind it, and stays there until it is deleted. The
//     exception is the last place of a line: its entry is in a new overflow line before the reference to that line takes its
//     place.
//   - I4 A reader loads tags before references, and references before objects. It loads the reference in the last place of
//     the last line whatever that place's tag. When it has found nothing, it loads the version of the line's last deletion.
//   - I5 The version of a line's last deletion never decreases, nor does that of a key's slot (see [Removal]). Both are stored
//     before the removal that they are of. So a reader that finds nothing, and then loads the line's, knows at least that
//     removal's version; and after a removal both are greater than they were before the key was set.
//   - I6 A reference other than refMoved was current when it was loaded, because the new segments could not be written to
//     before. A reader that finds nothing loaded the tags before a last reference that was not refMoved, so the new segments
//     had nothing that was not in the tags. So the load of the reference, or of the tags, is the instant of the read.
//   - I7 While a reader is pinned, a place never means an earlier entry again that the reader has seen: retired objects are
//     not used again, and a switch that is undone meant the old entry all the while. So reading many keys twice and comparing
//     is right.
//   - I8 Nobody waits with a shard locked, and nobody blocks while pinned but for a shard's lock. Who holds a shard's lock
//     does not wait for an epoch.
//   - I9 A writer is not pinned, so once it has begun to reclaim or to grow it does not look at anything that it has retired
//     or published. A write is: publish all, retire all, count all, grow all, reclaim. A write of one key reclaims first
//     ([Shard.Begin]), before it looks anything up, and again at its end if much waits.
//   - I10 An object is allocated and freed by its shard's heap.
package table
