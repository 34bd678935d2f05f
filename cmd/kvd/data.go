package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"kv/netserver"
	"kv/protocol"
	"kv/store"
	"kv/store/wal/backup"
)

const (
	backupChunk = 1 << 20
	backupIdle  = time.Minute // a backup that nobody reads for so long is given up
)

// backups is what BACKUP is done with.
func (d *data) backups() netserver.Backups {
	return backups{backup.NewChunks(d.journal, d.chunk, backupIdle)}
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
	backend
	options store.Options
	store   *store.Store // nil until load has returned
	dir     string
	chunk   int // of a backup, in bytes
	// backupBytes is how many bytes of writes backups may be behind.
	backupBytes int64
}

// takeData takes the data folder, if there is one; load reads it later. beside is told how many bytes lie beside Go's
// heap.
func takeData(o options, beside func(bytes int64), log *slog.Logger) (*data, error) {
	share := o.shares()
	d := &data{
		dir:     string(o.data),
		options: store.Options{MaxMemory: share.data, Evict: o.evict == evictSieve, History: o.history, HistoryAge: time.Duration(o.historyAge), Beside: beside, Logger: log},
		chunk:   share.chunk(),

		backupBytes: min(backup.DefaultBytes, int64(o.maxMemory)/8),
	}
	var err error
	switch {
	case o.peers.clustered():
		d.backend, err = takeReplica(o, log)
	case d.dir == "":
		d.backend = memoryOnly()
	default:
		d.backend, err = takeLog(o, log)
	}
	if err != nil {
		return nil, err
	}
	if d.dir != "" {
		checkFolder(d.dir, log)
	}
	d.options.Journal = d.journal
	if d.replica != nil {
		d.options.Proposes = true
		d.options.History, d.options.HistoryAge = d.replica.History()
	}
	return d, nil
}

// load opens the store and fills it. Meanwhile who connects to one of listeners is told how far it is. If ctx ends
// first, it returns false, and the process is to end.
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
		d.closeJournal() // the error tells of the store
		return err
	}
	d.journal.LimitBackups(d.backupBytes)
	d.store = st
	d.begin(st)
	return nil
}

// loading says how far load is.
func (d *data) loading() string {
	if d.read == nil {
		return "loading"
	}
	done, total := d.progress()
	return fmt.Sprintf("loading %d of %d bytes", done, total)
}

// progress is how many bytes of how many load has read.
func (d *data) progress() (done, total int64) {
	if d.read == nil {
		return 0, 0
	}
	return d.read()
}

func (d *data) name() string {
	if d.dir == "" {
		return "in memory"
	}
	return d.dir
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
		return errors.Join(d.closeJournal(), d.store.Close())
	}
	return errors.Join(d.store.Close(), d.closeJournal())
}
