package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
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
			log.Warn("secrets cross the network in the clear: give --tls-cert and --tls-key, or listen on loopback",
				"listen", shownAddress(l))
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
	heap := newHeapShare(int64(o.maxMemory), heapLimit(int64(o.maxMemory), granted))
	defer limitHeap(heap.all)()
	defer heap.keep()()

	data, err := takeData(o, heap.beside, log)
	if err != nil {
		return dataFailed(err)
	}
	p := &program{o: o, log: log, sec: sec, manager: manager, data: data}
	if web != nil {
		defer p.servePages(web, connections.pages)()
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
	defer tuneCollector(log, heap.collected, keepWithin(data.store, share.data, granted, heap.bytes.Load, log))()
	c := p.serverConfig(share, doors, connections.clients)
	c.Uncounted = heap.uncounted
	c.Figures = func() []protocol.Stat {
		return append(data.figures(), protocol.Stat{Name: "log_lines_dropped", Value: messages.dropped.Load()})
	}
	s, err := netserver.New(c)
	if err != nil {
		return errors.Join(err, data.close())
	}
	p.server.Store(s)
	defer returnFreed(func() uint64 { return uint64(max(int64(s.Memory())-heap.bytes.Load(), 0)) })()
	return p.run(ctx, s, listeners, connections.clients)
}

// program has the parts of a kvd that serves.
type program struct {
	o       options
	log     *slog.Logger
	sec     *security
	manager *manager
	data    *data
	server  atomic.Pointer[netserver.Server] // publishes the server, once there is one
}

// servePages serves all that is on --http, on at most so many connections at a time, until stop is called: also while
// the data are loaded.
func (p *program) servePages(web net.Listener, connections int) (stop func()) {
	ready := func() error {
		if p.server.Load() == nil {
			return errors.New(p.data.loading())
		}
		return p.data.ready()
	}
	shown := ops.Config{Server: p.server.Load, Ready: ready, Version: version.String(), Metrics: p.data.metrics}
	var api *rest.Config
	switch {
	case p.o.tlsClientCA != "":
		p.log.Info("keys and values are not served on --http: it can't ask for the certificates of --tls-client-ca")
	case p.o.httpAPI:
		api = &rest.Config{
			Server: p.server.Load, Loading: p.data.loading,
			BodyTimeout: time.Duration(p.o.frameTimeout), WriteTimeout: time.Duration(p.o.writeTimeout), Logger: p.log,
		}
		if p.sec.accounts != nil && !onThisMachine(web.Addr()) {
			p.log.Warn("secrets of the HTTP API cross the network in the clear: have a proxy in front that speaks TLS, or turn it off with --http-api=false", "http", shownAddress(web))
		}
	}
	return servePages(web, shown, api, connections, p.log)
}

// serverConfig returns the server's configuration, but for what is counted of the process and not of these parts.
func (p *program) serverConfig(share shares, doors []netserver.Door, connections int) netserver.Config {
	return netserver.Config{
		Store:          p.data.store,
		Limit:          uint32(p.o.maxFrame),
		MaxConnections: connections,
		FrameTimeout:   time.Duration(p.o.frameTimeout),
		WriteTimeout:   time.Duration(p.o.writeTimeout),
		RequestMemory:  share.requests,
		OutputMemory:   share.output,
		ClientOutput:   share.client,
		TLS:            p.sec.tls,
		Accounts:       p.sec.accounts,
		MemoryLimit:    int64(p.o.maxMemory),
		Snapshots:      p.data.snapshots,
		Backups:        p.data.backups(),
		Cluster:        p.data.cluster(),
		Doors:          doors,
		Logger:         p.log,
		Name:           "kvd " + version.String(),
	}
}

// run serves until ctx ends, or the server can't go on, and then ends it in order: another node leads, requests are
// answered, writes go to the disk.
func (p *program) run(ctx context.Context, s *netserver.Server, listeners []netserver.Listener, connections int) (err error) {
	served := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { served <- s.Serve(l) }()
	}
	p.log.Info("listening on "+shownAddress(listeners[0]),
		"version", version.String(), "data", p.data.name(), "sync", p.data.policy, "max_memory", p.o.maxMemory.String(),
		"max_frame", size(s.Limit()).String(), "max_connections", connections, "history", p.data.store.HistoryDepth(), "history_age", duration(p.data.store.HistoryAge()).String(),
		"tls", p.sec.tls != nil, "users", p.sec.accounts != nil)
	for _, l := range listeners[1:] {
		p.log.Info("listening on " + shownAddress(l))
	}
	p.manager.serves("listening on " + shownAddress(listeners[0]))

	select {
	case <-ctx.Done():
		p.log.Info("shutting down", "drain", p.o.drain.String())
	case err = <-served:
		p.log.Error("can't accept connections any more", "error", err)
	case <-p.data.ended():
		err = p.data.replica.ending()
		p.log.Error("this node is no replica any more: the others go on", "error", err)
	}
	p.manager.stops(2 * time.Duration(p.o.drain)) // for requests, and for the disk
	p.data.handOver()
	limit, cancel := context.WithTimeout(context.Background(), time.Duration(p.o.drain))
	defer cancel()
	if e := s.Shutdown(limit); e != nil {
		p.log.Warn("connections were cut off: --drain was over", "drain", p.o.drain.String())
	}
	if e := p.data.closeWithin(time.Duration(p.o.drain)); e != nil {
		p.log.Error("not all writes are on disk", "error", e)
		return failed(exitEnded, errors.Join(err, fmt.Errorf("not all writes are on disk: %w", e)))
	}
	p.log.Info("stopped")
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
