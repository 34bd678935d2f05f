package main

import (
	"context"
	"io"

	"github.com/prometheus/client_golang/prometheus"

	"kv/netserver"
	"kv/protocol"
	"kv/store"
	"kv/store/wal"
)

// backend is what differs between the ways to keep data: in memory alone (memoryOnly), in a log (takeLog), and as one
// of several nodes (takeReplica).
type backend struct {
	journal      journal
	policy       string                     // when writes are durable
	begin        func(st *store.Store)      // starts what the journal does with the open store
	read         func() (done, total int64) // how many bytes of how many the store has read while it opens; nil: not known
	ready        func() error               // why clients are better off elsewhere; nil: they are not
	snapshots    netserver.Snapshots        // what answers SNAPSHOT; nil: there is no folder
	figures      func() []protocol.Stat     // of the data folder, for STATS
	metrics      []prometheus.Collector     // what /metrics has of the data folder besides the figures
	replica      *replica                   // nil: the store is alone
	closeJournal func() error
}

// journal is a store's, and one that backups are taken of.
type journal interface {
	store.Journal
	LimitBackups(bytes int64)
	Backup(ctx context.Context, w io.Writer) (version uint64, size int64, err error)
}

// memoryOnly keeps data in memory alone.
func memoryOnly() backend {
	m := wal.NewMemory()
	return backend{
		journal:      m,
		policy:       "none",
		begin:        func(st *store.Store) { m.Attach(st) },
		ready:        func() error { return nil },
		figures:      func() []protocol.Stat { return []protocol.Stat{{Name: "sync_policy"}, {Name: "read_only"}} },
		closeJournal: func() error { return nil },
	}
}

// policies are the values of the figure sync_policy; that of a store in memory is 0.
var policies = map[wal.Policy]uint64{wal.Never: 1, wal.Interval: 2, wal.Always: 3}

// newSyncTimes is the metric of how long syncs of a log take.
func newSyncTimes() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "kv_sync_seconds",
		Help:    "How long syncs of the log took that made writes durable, in seconds",
		Buckets: prometheus.ExponentialBuckets(50e-6, 2, 18), // to 6.5 seconds
	})
}
