package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"kv/netserver"
	"kv/netserver/ops"
	"kv/protocol"
	"kv/store"
	"kv/store/wal"
)

const defaultDrain = 10 * time.Second

// serve runs the server until ctx ends, then shuts it down in order. An error means that it could not start, or did not end
// as it should. log writes to messages.
func serve(ctx context.Context, o options, messages *lineQueue, log *slog.Logger) (err error) {
	slog.SetDefault(log) // for what libraries have to say
	for _, w := range o.warnings {
		log.Warn(w)
	}
	sec, err := loadSecurity(o)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", string(o.listen))
	if err != nil {
		return failed(exitListen, fmt.Errorf("--listen: %w", err))
	}
	defer l.Close()
	web, err := listenHTTP(o)
	if err != nil {
		return err
	}
	if web != nil {
		defer web.Close()
	}
	checkDescriptors(o, log)
	defer limitHeap(int64(o.maxMemory))()

	data, err := openData(o, log)
	if err != nil {
		return dataFailed(err)
	}
	defer tuneCollector(log)()
	srv, err := netserver.New(netserver.Config{
		Store:          data.store,
		Limit:          uint32(o.maxFrame),
		MaxConnections: o.maxConnections,
		FrameTimeout:   time.Duration(o.frameTimeout),
		WriteTimeout:   time.Duration(o.writeTimeout),
		RequestMemory:  int64(o.maxMemory) / 4,
		TLS:            sec.tls,
		Accounts:       sec.accounts,
		MemoryLimit:    int64(o.maxMemory),
		Snapshots:      data.snapshots(),
		Backups:        data.backups(),
		Figures: func() []protocol.Stat {
			return append(data.figures(), protocol.Stat{Name: "log_lines_dropped", Value: messages.dropped.Load()})
		},
		Logger: log,
		Name:   "kvd " + version,
	})
	if err != nil {
		return errors.Join(err, data.close())
	}
	if web != nil {
		pages := &http.Server{Handler: ops.Handler(srv, data.failed), ReadHeaderTimeout: 10 * time.Second}
		go pages.Serve(web)
		defer pages.Close()
		log.Info("metrics on http://" + web.Addr().String() + "/metrics")
	}
	stopReloading := reloadOnHangup(sec, log)
	defer stopReloading()

	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	log.Info("listening on "+l.Addr().String(),
		"version", version, "data", data.name(), "sync", data.policy(), "max_memory", o.maxMemory.String(),
		"max_frame", o.maxFrame.String(), "max_connections", o.maxConnections, "history", o.history,
		"tls", sec.tls != nil, "users", sec.accounts != nil)

	select {
	case <-ctx.Done():
		log.Info("shutting down", "drain", o.drain.String())
	case err = <-served:
		log.Error("can't accept connections any more", "error", err)
	}
	// The flush comes out of the same time.
	limit, cancel := context.WithTimeout(context.Background(), time.Duration(o.drain))
	defer cancel()
	if e := srv.Shutdown(limit); e != nil {
		log.Warn("connections were cut off: --drain was over", "drain", o.drain.String())
	}
	if e := data.close(); e != nil {
		log.Error("not all writes are on disk", "error", e)
		return failed(exitEnded, errors.Join(err, fmt.Errorf("not all writes are on disk: %w", e)))
	}
	log.Info("stopped")
	return failed(exitEnded, err)
}

// data is the store and what keeps it.
type data struct {
	store *store.Store
	dir   string
	sync  wal.Policy
	log   *wal.Log // nil: all is in memory only
	taps  backed   // what backups are taken of
}

// openData opens the store, and reads the data folder if there is one.
func openData(o options, log *slog.Logger) (*data, error) {
	so := store.Options{MaxMemory: int64(o.maxMemory), History: o.history, Logger: log}
	d := &data{dir: string(o.data)}
	if o.data != "" {
		var err error
		if d.sync, err = wal.ParsePolicy(o.sync); err != nil {
			return nil, err
		}
		d.log, err = wal.Open(wal.Options{
			Dir:        d.dir,
			Sync:       d.sync,
			Logger:     log,
			QueueBytes: min(wal.DefaultQueueBytes, int64(o.maxMemory)/8),
			Failed: func(err error) {
				log.Error("the data folder failed: from now on only reads are answered", "data", d.dir, "error", err)
			},
		})
		if err != nil {
			return nil, err
		}
		so.Journal, d.taps = d.log, d.log
	} else {
		m := wal.NewMemory()
		so.Journal, d.taps = m, m
	}
	var err error
	if d.store, err = store.Open(so); err != nil {
		if d.log != nil {
			d.log.Close()
		}
		return nil, err
	}
	d.taps.Attach(d.store)
	return d, nil
}

// failed returns why the store takes no writes, nil if it does.
func (d *data) failed() error {
	if d.log == nil {
		return nil
	}
	return d.log.Failed()
}

// snapshots is what SNAPSHOT is done with; nil: there is no folder.
func (d *data) snapshots() netserver.Snapshots {
	if d.log == nil {
		return nil
	}
	return d.log
}

// figures are those of the data folder, for STATS.
func (d *data) figures() []protocol.Stat {
	if d.log == nil {
		return nil
	}
	st := d.log.Stats()
	return []protocol.Stat{
		{Name: "log_files", Value: uint64(st.LogFiles)},
		{Name: "log_bytes", Value: uint64(st.SinceSnapshot)},
		{Name: "log_queued_bytes", Value: uint64(st.Queued)},
		{Name: "log_syncs", Value: uint64(st.Syncs)},
		{Name: "snapshot_bytes", Value: uint64(st.SnapshotBytes)},
	}
}

func (d *data) name() string {
	if d.log == nil {
		return "in memory"
	}
	return d.dir
}

func (d *data) policy() string {
	if d.log == nil {
		return "none"
	}
	return d.sync.String()
}

// close writes what is not written yet.
func (d *data) close() error {
	err := d.store.Close()
	if d.log != nil {
		err = errors.Join(err, d.log.Close())
	}
	return err
}

func listenHTTP(o options) (net.Listener, error) {
	if o.http == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", string(o.http))
	if err != nil {
		return nil, failed(exitListen, fmt.Errorf("--http: %w", err))
	}
	return l, nil
}

// reloadOnHangup reads users and certificate again on SIGHUP.
func reloadOnHangup(sec *security, log *slog.Logger) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-hangups:
			}
			if err := sec.load(); err != nil {
				log.Error("SIGHUP: what was in force stays", "error", err)
			} else {
				log.Info("SIGHUP: users and certificate were read again")
			}
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(done)
	}
}
