package main

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kv/protocol"
	"kv/store"
	"kv/store/wal"
)

// takeLog takes the data folder of a store that is alone.
func takeLog(o options, log *slog.Logger) (backend, error) {
	policy, err := wal.ParsePolicy(o.sync)
	if err != nil {
		return backend{}, err
	}
	syncs := newSyncTimes()
	l, err := wal.Open(wal.Options{
		Dir:        string(o.data),
		FS:         o.fs,
		Sync:       policy,
		Logger:     log,
		QueueBytes: min(wal.DefaultQueueBytes, int64(o.maxMemory)/8),
		Synced:     func(took time.Duration) { syncs.Observe(took.Seconds()) },
		Failed: func(err error) {
			log.Error("the data folder failed: from now on only reads are answered", "data", string(o.data), "error", err)
		},
	})
	if err != nil {
		return backend{}, err
	}
	return backend{
		journal:      l,
		policy:       policy.String(),
		begin:        func(st *store.Store) { l.Attach(st) },
		read:         l.Progress,
		ready:        l.Refusing,
		snapshots:    l,
		figures:      func() []protocol.Stat { return logFigures(l.Stats(), policy) },
		metrics:      []prometheus.Collector{syncs},
		closeJournal: l.Close,
	}, nil
}

// oneIf is the figure of something that is so or not.
func oneIf(so bool) uint64 {
	if so {
		return 1
	}
	return 0
}

func logFigures(st wal.Stats, policy wal.Policy) []protocol.Stat {
	return []protocol.Stat{
		{Name: "sync_policy", Value: policies[policy]},
		{Name: "read_only", Value: oneIf(st.Refusing)},
		{Name: "log_files", Value: uint64(st.LogFiles)},
		{Name: "log_bytes", Value: uint64(st.SinceSnapshot)},
		{Name: "log_queued_bytes", Value: uint64(st.Queued)},
		{Name: "log_syncs", Value: uint64(st.Syncs)},
		{Name: "log_begin_failures", Value: uint64(st.RotationsFailed)},
		{Name: "log_torn_bytes", Value: uint64(st.TornBytes)},
		{Name: "snapshot_bytes", Value: uint64(st.SnapshotBytes)},
		{Name: "snapshot_age_seconds", Value: uint64(st.SnapshotAge.Seconds())},
		{Name: "snapshot_failures", Value: uint64(st.SnapshotsFailed)},
		{Name: "snapshot_failing", Value: oneIf(st.SnapshotFailing)},
	}
}
