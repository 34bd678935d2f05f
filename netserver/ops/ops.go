// Package ops shows a server to those who run it: metrics, health and profiles over HTTP.
//
//	/metrics       for Prometheus: the figures of STATS as kv_…, and those of the process and the Go runtime
//	/healthz       200 while the process lives
//	/readyz        200 while the server takes reads and writes; else 503 and why
//	/debug/pprof/  profiles, for go tool pprof
//
// Nothing here asks who is there: listen on loopback, or behind something that does.
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

// Handler serves the pages. writable returns why the store takes no writes, nil if it does; nil: it always does.
func Handler(srv *netserver.Server, writable func() error) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		figures{srv},
	)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(srv, writable); err != nil {
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
	return mux
}

func ready(srv *netserver.Server, writable func() error) error {
	if srv.Draining() {
		return errors.New("shutting down")
	}
	if writable == nil {
		return nil
	}
	return writable()
}

// figures are the server's, as Prometheus collects them.
type figures struct{ srv *netserver.Server }

// Describe sends nothing: which figures there are is the server's to know.
func (figures) Describe(chan<- *prometheus.Desc) {}

// Collect sends the figures of this moment.
func (f figures) Collect(to chan<- prometheus.Metric) {
	for _, st := range f.srv.Stats() {
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
