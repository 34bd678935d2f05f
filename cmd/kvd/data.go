package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kv/netserver"
	"kv/protocol"
	"kv/store"
	"kv/store/wal"
	"kv/store/wal/backup"
)

const (
	backupChunk = 1 << 20
	backupIdle  = time.Minute // a backup that nobody reads for so long is given up
)

// backed is a journal that backups are taken of: a wal.Log, a wal.Memory, or a cluster.Journal.
type backed interface {
	LimitBackups(bytes int64)
	Backup(ctx context.Context, w io.Writer) (version uint64, size int64, err error)
}

// backups is what BACKUP is done with.
func (d *data) backups() netserver.Backups {
	return backups{backup.NewChunks(d.backed, d.chunk, backupIdle)}
}

// backups answer as the protocol says.
type backups struct{ *backup.Chunks }

func (b backups) Backup(user string, handle uint64) (next uint64, chunk []byte, err error) {
	next, chunk, err = b.Chunks.Backup(user, handle)
	if errors.Is(err, backup.ErrNoBackup) {
		err = &protocol.Error{Status: protocol.StatusBadRequest, Message: err.Error()}
	}
	return next, chunk, err
}

// data is the store and what keeps it.
type data struct {
	options store.Options
	store   *store.Store // nil until load has returned
	dir     string
	sync    wal.Policy
	log     *wal.Log              // nil: all is in memory only, or there is a replica
	replica *replica              // nil: the store is alone
	backed  backed                // what backups are taken of
	begin   func(st *store.Store) // has the journal begin what it does with the store
	chunk   int                   // of a backup, in bytes
	// backupBytes is how many bytes of writes backups may be behind.
	backupBytes int64
	syncs       prometheus.Histogram // how long the log's take; nil: there is none
}

// takeData takes the data folder, if there is one. What it holds is read by load. beside is told how much lies beside Go's heap.
func takeData(o options, beside func(bytes int64), log *slog.Logger) (*data, error) {
	share := o.shares()
	d := &data{
		dir:     string(o.data),
		options: store.Options{MaxMemory: share.data, Evict: o.evict == evictSieve, History: o.history, HistoryAge: time.Duration(o.historyAge), Beside: beside, Logger: log},
		chunk:   share.chunk(),

		backupBytes: min(backup.DefaultBytes, int64(o.maxMemory)/8),
	}
	if d.dir != "" {
		d.syncs = prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kv_sync_seconds",
			Help:    "How long syncs of the log took that made writes durable, in seconds",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 18), // to 6.5 seconds
		})
	}
	synced := func(took time.Duration) { d.syncs.Observe(took.Seconds()) }
	if o.peers.clustered() {
		var err error
		if d.replica, err = takeReplica(o, synced, log); err != nil {
			return nil, err
		}
		checkFolder(d.dir, log)
		d.options.Journal, d.options.Proposes, d.backed = d.replica.Journal, true, d.replica.Journal
		d.options.History, d.options.HistoryAge = d.replica.History()
		d.begin = d.replica.Start
		return d, nil
	}
	if d.dir == "" {
		m := wal.NewMemory()
		d.options.Journal, d.backed = m, m
		d.begin = func(st *store.Store) { m.Attach(st) }
		return d, nil
	}
	var err error
	if d.sync, err = wal.ParsePolicy(o.sync); err != nil {
		return nil, err
	}
	d.log, err = wal.Open(wal.Options{
		Dir:        d.dir,
		FS:         o.fs,
		Sync:       d.sync,
		Logger:     log,
		QueueBytes: min(wal.DefaultQueueBytes, int64(o.maxMemory)/8),
		Synced:     synced,
		Failed: func(err error) {
			log.Error("the data folder failed: from now on only reads are answered", "data", d.dir, "error", err)
		},
	})
	if err != nil {
		return nil, err
	}
	checkFolder(d.dir, log)
	d.options.Journal, d.backed = d.log, d.log
	d.begin = func(st *store.Store) { d.log.Attach(st) }
	return d, nil
}

// load opens the store and fills it. Meanwhile who connects to one of listeners is told how far it is. If ctx ends first, it returns false, and
// the process is to end.
func (d *data) load(ctx context.Context, listeners []netserver.Listener, secure *tls.Config, doors []netserver.Door) (loaded bool, err error) {
	if d.dir == "" {
		return true, d.open()
	}
	answering, stop := context.WithCancel(ctx)
	var answered sync.WaitGroup
	for _, l := range listeners {
		answered.Go(func() { netserver.TurnAway(answering, l, secure, doors, d.loading) })
	}
	opened := make(chan error, 1)
	go func() { opened <- d.open() }()
	select {
	case err = <-opened:
		loaded = err == nil
	case <-ctx.Done():
	}
	stop()
	answered.Wait()
	return loaded, err
}

func (d *data) open() error {
	st, err := store.Open(d.options)
	if err != nil {
		if d.log != nil {
			d.log.Close()
		}
		if d.replica != nil {
			d.replica.Close()
		}
		return err
	}
	d.backed.LimitBackups(d.backupBytes)
	d.store = st
	d.begin(st)
	return nil
}

// loading says how far load is.
func (d *data) loading() string {
	if d.log == nil {
		return "loading"
	}
	done, total := d.progress()
	return fmt.Sprintf("loading %d of %d bytes", done, total)
}

// progress is how many bytes of how many load has read.
func (d *data) progress() (done, total int64) {
	if d.log == nil {
		return 0, 0
	}
	return d.log.Progress()
}

// failed returns why the store takes no writes, nil if it does.
func (d *data) failed() error {
	if d.replica != nil {
		return d.replica.ready()
	}
	if d.log == nil {
		return nil
	}
	return d.log.Refusing()
}

// snapshots is what SNAPSHOT is done with; nil: there is no folder.
func (d *data) snapshots() netserver.Snapshots {
	if d.replica != nil {
		return d.replica
	}
	if d.log == nil {
		return nil
	}
	return d.log
}

// policies are the values of the figure sync_policy; that of a store in memory is 0.
var policies = map[wal.Policy]uint64{wal.Never: 1, wal.Interval: 2, wal.Always: 3}

// metrics are what /metrics has of the data folder besides the figures.
func (d *data) metrics() []prometheus.Collector {
	switch {
	case d.replica != nil:
		return []prometheus.Collector{d.syncs, replicaMetrics{d.replica.View}}
	case d.syncs == nil:
		return nil
	}
	return []prometheus.Collector{d.syncs}
}

// figures are those of the data folder, for STATS.
func (d *data) figures() []protocol.Stat {
	if d.replica != nil {
		c := d.replica.Counts()
		format, reads := d.replica.Format()
		differ := uint64(0)
		if v, ok := d.replica.View(); ok && v.Differ() {
			differ = 1
		}
		return []protocol.Stat{
			{Name: "sync_policy", Value: policies[wal.Always]},
			{Name: "read_only"},
			{Name: "log_files", Value: uint64(c.Files)},
			{Name: "log_bytes", Value: uint64(c.Bytes)},
			{Name: "log_syncs", Value: c.Syncs},
			{Name: "snapshot_bytes", Value: uint64(c.KeptBytes)},
			{Name: "snapshot_age_seconds", Value: uint64(c.KeptAge.Seconds())},
			{Name: "snapshot_failures", Value: c.KeepsFailed},
			{Name: "cluster_format", Value: uint64(format)},
			{Name: "cluster_format_readable", Value: uint64(reads.Newest)},
			{Name: "cluster_settings_differ", Value: differ},
		}
	}
	if d.log == nil {
		return []protocol.Stat{{Name: "sync_policy"}, {Name: "read_only"}}
	}
	st := d.log.Stats()
	readOnly := uint64(0)
	if st.Refusing {
		readOnly = 1
	}
	return []protocol.Stat{
		{Name: "sync_policy", Value: policies[d.sync]},
		{Name: "read_only", Value: readOnly},
		{Name: "log_files", Value: uint64(st.LogFiles)},
		{Name: "log_bytes", Value: uint64(st.SinceSnapshot)},
		{Name: "log_queued_bytes", Value: uint64(st.Queued)},
		{Name: "log_syncs", Value: uint64(st.Syncs)},
		{Name: "log_begin_failures", Value: uint64(st.RotationsFailed)},
		{Name: "log_torn_bytes", Value: uint64(st.TornBytes)},
		{Name: "snapshot_bytes", Value: uint64(st.SnapshotBytes)},
		{Name: "snapshot_age_seconds", Value: uint64(st.SnapshotAge.Seconds())},
		{Name: "snapshot_failures", Value: uint64(st.SnapshotsFailed)},
	}
}

func (d *data) name() string {
	if d.dir == "" {
		return "in memory"
	}
	return d.dir
}

func (d *data) policy() string {
	if d.replica != nil {
		return wal.Always.String()
	}
	if d.log == nil {
		return "none"
	}
	return d.sync.String()
}

// closeWithin is close, and gives up after so long: on a disk that does not answer.
func (d *data) closeWithin(limit time.Duration) error {
	closed := make(chan error, 1)
	go func() { closed <- d.close() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(limit):
		return fmt.Errorf("the disk did not answer for %v", limit)
	}
}

// close writes what is not written yet.
func (d *data) close() error {
	if d.replica != nil { // first, since writes that wait for others keep the store
		return errors.Join(d.replica.Close(), d.store.Close())
	}
	err := d.store.Close()
	if d.log != nil {
		err = errors.Join(err, d.log.Close())
	}
	return err
}
