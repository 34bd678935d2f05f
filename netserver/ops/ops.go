// Package ops shows a server to those who run it: metrics, health and profiles over HTTP.
//
//	/metrics       for Prometheus: the figures of STATS as kv_…, how long requests take, and what Go and the process say
//	/livez         200 while the process lives; /healthz is the same, as Kubernetes called it before
//	/readyz        200 while the server takes reads and writes; else 503 and why: while it loads its data, how far it is
//	/debug/pprof/  profiles, for go tool pprof, for who asks on this machine
//
// Nothing here asks who is there. Metrics and health tell no key and no value, and are for who can reach the listener:
// orchestrators, monitoring. Profiles cost time, and show what the process does, so other machines get none. A web page of
// somebody else's gets nothing, so that a browser beside the server does not open it to the world.
package ops

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"regexp"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kv/netserver"
)

// Config says what the pages show.
type Config struct {
	// Server returns the server, nil while there is none yet, which loads its data: its figures are missing then.
	Server func() *netserver.Server
	// Ready returns why the server does not take reads and writes, nil if it does. That it shuts down is known here.
	Ready func() error
	// Version is the program's, for kv_build_info.
	Version string
	// Metrics are further ones; there may be none.
	Metrics []prometheus.Collector
}

// liveHeap is how many bytes of Go's heap its last collection left: what the process holds, without garbage.
var liveHeap = collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile("^/gc/heap/live:bytes$")}

// Handler serves the pages.
func Handler(c Config) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(liveHeap)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		figures{c.Server},
		buildInfo(c.Version),
	)
	registry.MustRegister(c.Metrics...)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	for _, page := range []string{"GET /livez", "GET /healthz"} {
		mux.HandleFunc(page, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	}
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		err := c.Ready()
		if srv := c.Server(); srv != nil && srv.Draining() {
			err = errors.New("shutting down")
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("/debug/", ownMachine(profiles()))
	return ownPages(mux)
}

func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
