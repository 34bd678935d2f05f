package wal

import "sync/atomic"

// counters are read by Stats.
type counters struct {
	bytes         atomic.Int64 // written to logs, and found in them
	sinceSnapshot atomic.Int64 // of them, not covered by a snapshot
	syncs         atomic.Int64
	files         atomic.Int64
	torn          atomic.Int64
}
