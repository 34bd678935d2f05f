// Package ops shows a server to those who run it: metrics, health and profiles over HTTP.
//
//	/metrics       for Prometheus: the figures of STATS as kv_…, and those of the process and the Go runtime
//	/healthz       200 while the process lives
//	/readyz        200 while the server takes reads and writes; else 503 and why: while it loads its data, how far it is
//	/debug/pprof/  profiles, for go tool pprof
//
// Nothing here asks who is there: listen on loopback, or behind something that does. But a web page of somebody else's gets
// nothing, so that a browser beside the server does not open it to the world.
package ops

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kv/netserver"
)

// Handler serves the pages. server returns the server, nil while there is none yet, which loads its data: its figures are
// missing then. ready returns why it does not take reads and writes, nil if it does; that it shuts down is known here.
func Handler(server func() *netserver.Server, ready func() error) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		figures{server},
	)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		err := ready()
		if srv := server(); srv != nil && srv.Draining() {
			err = errors.New("shutting down")
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return ownPages(mux)
}

// figures are the server's, as Prometheus collects them.
type figures struct{ server func() *netserver.Server }

// Describe sends nothing: which figures there are is the server's to know.
func (figures) Describe(chan<- *prometheus.Desc) {}

// Collect sends the figures of this moment.
func (f figures) Collect(to chan<- prometheus.Metric) {
	srv := f.server()
	if srv == nil {
		return
	}
	for _, st := range srv.Stats() {
		name, kind := "kv_"+st.Name, prometheus.GaugeValue
		for _, ending := range []string{"_ops", "_in", "_out", "_refused", "_syncs", "_dropped"} {
			if strings.HasSuffix(name, ending) {
				name += "_total"
			}
		}
		if strings.HasSuffix(name, "_total") {
			kind = prometheus.CounterValue
		}
		desc := prometheus.NewDesc(name, "The figure "+st.Name+" of STATS.", nil, nil)
		to <- prometheus.MustNewConstMetric(desc, kind, float64(st.Value))
	}
}
