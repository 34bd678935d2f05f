package store

// Stats returns the store's figures, with all that this session has done.
func (c *Session) Stats() Stats {
	c.publish()
	return c.store.Stats()
}

// Stats returns the store's figures. The operation counts have what each session had flushed.
func (s *Store) Stats() Stats {
	var t Stats
	s.table.LockAll(allShards)
	for i := range s.shards {
		t.Keys += uint64(s.shards[i].keys)
		t.Expiring += uint64(s.shards[i].expiring)
		t.ValueBytes += uint64(s.shards[i].valueBytes)
		t.History += uint64(s.shards[i].history())
		t.WaitingBytes += uint64(s.shards[i].Waiting())
	}
	t.MemoryBytes = uint64(s.budget.used.Load())
	t.Expired = s.expirations.Load()
	t.Evicted = s.dropped.Load()
	t.EvictedKeys = s.evicted.Load()
	s.table.UnlockAll(allShards)

	s.sessionsMu.Lock()
	defer s.sessionsMu.Unlock()
	t.Misses, t.GetOps = s.ended.misses.Load(), s.ended.gets.Load()
	t.SetOps, t.DelOps = s.ended.sets.Load(), s.ended.dels.Load()
	for c := range s.sessions {
		t.Misses += c.published.misses.Load() // before the gets that they are among
		t.GetOps += c.published.gets.Load()
		t.SetOps += c.published.sets.Load()
		t.DelOps += c.published.dels.Load()
	}
	return t
}
