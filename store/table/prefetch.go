package table

// Prefetch begins to load the line of a hash into the processor's caches, for a write that is about to lock the hash's
// shard, so that Find need not wait for it.
//
// It takes no lock and is not pinned, so the memory of the directory may be in use for something else by now. That does no
// harm: whatever is read there only becomes an address to prefetch, which may be any.
func (t *Table) Prefetch(h uint64) {
	if !prefetches {
		return
	}
	w := t.word(h)
	prefetch(uintptr(t.base) + uintptr(w>>8) + segmentLines + uintptr(h&w&(maxLines-1)*lineSize))
}

// Begin begins a write of one key: it frees some of what earlier writes retired, and prefetches the memory that Make of s
// will write to. It comes before Find: see I9. The shard is locked.
func (sh *Shard) Begin(s *Spec) {
	sh.Reclaim()
	if prefetches {
		prefetch(sh.heap.Next(s.size()))
	}
}
