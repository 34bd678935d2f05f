package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"kv/cmd/internal/version"
	"kv/netserver"
	"kv/netserver/ops"
	"kv/netserver/rest"
	"kv/protocol"
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
	listeners, err := listen(o)
	if err != nil {
		return err
	}
	defer closeAll(listeners)
	for _, l := range listeners {
		if sec.secretsInTheClear(l.Addr()) {
			log.Warn("secrets cross the network in the clear: give --tls-cert and --tls-key, or listen on loopback", "listen", shownAddress(l))
		}
	}
	manager := findManager(log)
	defer reloadOnHangup(sec, manager, log)()
	web, err := listenHTTP(o)
	if err != nil {
		return err
	}
	if web != nil {
		defer web.Close()
	}
	granted := grantedMemory()
	o.maxMemory = size(checkMemory(int64(o.maxMemory), granted, log))
	connections, err := connectionLimit(o, granted, log)
	if err != nil {
		return err
	}
	heap := newHeapShare(heapLimit(int64(o.maxMemory), granted))
	defer limitHeap(heap.all)()
	defer heap.keep()()

	data, err := takeData(o, heap.beside, log)
	if err != nil {
		return dataFailed(err)
	}
	var srv atomic.Pointer[netserver.Server] // publishes the server, once there is one
	if web != nil {
		ready := func() error {
			if srv.Load() == nil {
				return errors.New(data.loading())
			}
			return data.failed()
		}
		shown := ops.Config{Server: srv.Load, Ready: ready, Version: version.String(), Metrics: data.metrics()}
		var api *rest.Config
		switch {
		case o.tlsClientCA != "":
			log.Info("keys and values are not served on --http: it can't ask for the certificates of --tls-client-ca")
		case o.httpAPI:
			api = &rest.Config{
				Server: srv.Load, Loading: data.loading,
				BodyTimeout: time.Duration(o.frameTimeout), WriteTimeout: time.Duration(o.writeTimeout), Logger: log,
			}
			if sec.accounts != nil && !onThisMachine(web.Addr()) {
				log.Warn("secrets of the HTTP API cross the network in the clear: have a proxy in front that speaks TLS, or turn it off with --http-api=false", "http", shownAddress(web))
			}
		}
		defer servePages(web, shown, api, connections.pages, log)()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	doors := o.doors(stop)
	stopTelling := manager.loads(data.progress)
	loaded, err := data.load(ctx, listeners, sec.tls, doors)
	stopTelling()
	if err != nil {
		return dataFailed(err)
	}
	if !loaded {
		manager.stops(0)
		log.Info("stopped while the data were loaded: nothing was changed")
		return nil
	}
	share := o.shares()
	defer tuneCollector(log, keepWithin(data.store, share.data, granted, heap.bytes.Load, log))()
	s, err := netserver.New(netserver.Config{
		Store:          data.store,
		Limit:          uint32(o.maxFrame),
		MaxConnections: connections.clients,
		FrameTimeout:   time.Duration(o.frameTimeout),
		WriteTimeout:   time.Duration(o.writeTimeout),
		RequestMemory:  share.requests,
		OutputMemory:   share.output,
		ClientOutput:   share.client,
		TLS:            sec.tls,
		Accounts:       sec.accounts,
		MemoryLimit:    int64(o.maxMemory),
		Uncounted:      heap.uncounted,
		Snapshots:      data.snapshots(),
		Backups:        data.backups(),
		Cluster:        data.cluster(),
		Doors:          doors,
		Figures: func() []protocol.Stat {
			return append(data.figures(), protocol.Stat{Name: "log_lines_dropped", Value: messages.dropped.Load()})
		},
		Logger: log,
		Name:   "kvd " + version.String(),
	})
	if err != nil {
		return errors.Join(err, data.close())
	}
	srv.Store(s)
	defer returnFreed(func() uint64 { return uint64(max(int64(s.Memory())-heap.bytes.Load(), 0)) })()
	served := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { served <- s.Serve(l) }()
	}
	log.Info("listening on "+shownAddress(listeners[0]),
		"version", version.String(), "data", data.name(), "sync", data.policy(), "max_memory", o.maxMemory.String(),
		"max_frame", size(s.Limit()).String(), "max_connections", connections.clients, "history", data.store.HistoryDepth(), "history_age", duration(data.store.HistoryAge()).String(),
		"tls", sec.tls != nil, "users", sec.accounts != nil)
	for _, l := range listeners[1:] {
		log.Info("listening on " + shownAddress(l))
	}
	manager.serves("listening on " + shownAddress(listeners[0]))

	select {
	case <-ctx.Done():
		log.Info("shutting down", "drain", o.drain.String())
	case err = <-served:
		log.Error("can't accept connections any more", "error", err)
	case <-data.ended():
		err = data.replica.ending()
		log.Error("this node is no replica any more: the others go on", "error", err)
	}
	manager.stops(2 * time.Duration(o.drain)) // for requests, and for the disk
	data.handOver()
	limit, cancel := context.WithTimeout(context.Background(), time.Duration(o.drain))
	defer cancel()
	if e := s.Shutdown(limit); e != nil {
		log.Warn("connections were cut off: --drain was over", "drain", o.drain.String())
	}
	if e := data.closeWithin(time.Duration(o.drain)); e != nil {
		log.Error("not all writes are on disk", "error", e)
		return failed(exitEnded, errors.Join(err, fmt.Errorf("not all writes are on disk: %w", e)))
	}
	log.Info("stopped")
	return failed(exitEnded, err)
}

// reloadOnHangup reads users, certificate and authority again on SIGHUP, until stop is called.
func reloadOnHangup(sec *security, manager *manager, log *slog.Logger) (stop func()) {
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
			manager.reloads(func() string {
				if err := sec.load(); err != nil {
					log.Error("SIGHUP: what was in force stays", "error", err)
					return "what was in force stays: " + err.Error()
				}
				log.Info("SIGHUP: users and certificates were read again")
				return "users and certificates were read again"
			})
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(done)
	}
}
