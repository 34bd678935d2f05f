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
//   - One key: the entry is complete, and one atomic store puts its reference in the key's place. If the key is new, the tag is
//     stored behind it. A deletion stores 0.
//   - Many keys: each place is given a switch, an object that leads to the old and to the new entry and to the transaction, and
//     means the old one until the transaction is committed. Then one atomic store commits it, and all of the switches mean the new
//     ones. Last, the places get the new entries themselves. See [Txn].
//   - A segment that grows: the new ones are complete before the directory shows them; then every reference of the old one is overwritten
//     with refMoved, and only then the lock is let go and the new ones can be written to.
//
// # What must hold
//
//   - I1 Only the holder of a shard's lock stores to its root, directory, segments, lines and switches.
//   - I2 What a reader can reach was complete before the store that made it reachable. Of published objects only words of lines, of
//     directories, and txn.committed change, each by one atomic operation; but for a table that is loaded before anybody has a reader,
//     whose lines are then stored to as they come: see [Table.Loading].
//   - I3 A key is in at most one place of its line and the overflow lines behind, and stays there until it is deleted; but for the
//     last place of a line, whose entry is in the new overflow line before the reference to that takes its place.
//   - I4 A reader loads tags before references, and references before objects; the reference in the last place of the last line,
//     whatever its tag; and after it has found nothing, the version of the line's last deletion.
//   - I5 That version never decreases, nor does the one of the key's slot, and both are stored before the removal that they are of: who finds
//     nothing and then loads the line's knows at least that removal's version, and both are greater after a removal than they were before the
//     key was there (see [Removal]).
//   - I6 A reference other than refMoved was current when it was loaded: the new segments could not be written to before. And who found
//     nothing had loaded the tags before a reference in the last place that was none, so nothing was in the new segments that was not in
//     the tags. So the load of the reference, or of the tags, is the instant of the read.
//   - I7 What a place means never returns to an earlier entry while anybody is pinned who saw that: retired objects are not used
//     again, and a switch that is undone meant the old entry all the while. So reading many keys twice and comparing is right.
//   - I8 Nobody waits with a shard locked, and nobody blocks while pinned but for a shard's lock. Holders of locks wait for no epoch.
//   - I9 A writer is not pinned, so it looks at nothing that it retired, or published, once it has begun to reclaim or to grow. A
//     write is: publish all, retire all, count all, grow all, reclaim. A write of one key reclaims first ([Shard.Begin]), before it
//     looks, and again at its end if much waits.
//   - I10 An object is allocated and freed by its shard's heap.
package table
