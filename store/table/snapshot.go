package table

// tries is how often Snapshot reads without locks before it takes them.
const tries = 4

// Snapshot is Get of each key, all at one instant. If now is not nil, it is called at that instant. dst is as long as keys.
// The reader is pinned.
//
// It reads every key twice. What a place means never returns to an earlier entry while the reader is pinned (I7), and the
// number that stands for an absent key rises with each deletion (I5). So if both readings are the same, all of it was
// current at any moment between them. See "double collect" in Afek et al., "Atomic Snapshots of Shared Memory", JACM 1993.
// If writers get in between too often, it reads with the keys' shards locked.
func (r *Reader) Snapshot(dst []Entry, keys [][]byte, now func()) {
	t := r.table
	var few [32]uint64
	absent := few[:]
	if len(keys) > len(few) {
		absent = make([]uint64, len(keys))
	}
	for range tries {
		for i, k := range keys {
			dst[i], _, absent[i] = t.find(t.hash(k), k)
		}
		if now != nil {
			now()
		}
		same := true
		for i, k := range keys {
			e, seen, gone := t.find(t.hash(k), k)
			r.see(seen)
			same = same && e == dst[i] && gone == absent[i]
		}
		if same {
			return
		}
	}
	var set ShardSet
	for _, k := range keys {
		set.Add(ShardOf(t.hash(k)))
	}
	t.LockAll(set)
	defer t.UnlockAll(set)
	for i, k := range keys {
		var seen uint64
		dst[i], seen, _ = t.find(t.hash(k), k)
		r.see(seen)
	}
	if now != nil {
		now()
	}
}
