package ops

import (
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"kv/netserver"
	"kv/protocol"
)

// figures are the server's, as Prometheus collects them.
type figures struct{ server func() *netserver.Server }

// Describe sends nothing: which figures there are is the server's to know.
func (figures) Describe(chan<- *prometheus.Desc) {}

var requestSeconds = prometheus.NewDesc("kv_request_seconds",
	"How long requests took, in seconds, from when they had arrived until their answers could leave: durable, as far as --sync promises, and with those that arrived together",
	nil, nil)

// Collect sends the figures of this moment.
func (f figures) Collect(to chan<- prometheus.Metric) {
	srv := f.server()
	if srv == nil {
		return
	}
	for _, st := range srv.Stats() {
		to <- metric(st)
	}
	l := srv.Latency()
	to <- prometheus.MustNewConstHistogram(requestSeconds, l.Count, l.Seconds, l.Buckets)
}

// metric is a figure as a metric: a counter is called _total, and refusals are told apart by a label.
func metric(st protocol.Stat) prometheus.Metric {
	f, ok := protocol.FigureOf(st.Name)
	if !ok {
		f.Help = "The figure " + st.Name + " of STATS"
	}
	kind := prometheus.GaugeValue
	name := "kv_" + st.Name
	if f.Counter {
		kind = prometheus.CounterValue
		name = strings.TrimSuffix(name, "_total") + "_total"
	}
	if status, ok := strings.CutPrefix(st.Name, "refusals_"); ok {
		desc := prometheus.NewDesc("kv_refusals_total", "Requests that were refused, by the status of the answer",
			[]string{"status"}, nil)
		return prometheus.MustNewConstMetric(desc, kind, float64(st.Value), strings.ToUpper(status))
	}
	return prometheus.MustNewConstMetric(prometheus.NewDesc(name, f.Help, nil, nil), kind, float64(st.Value))
}

// buildInfo says which program this is.
func buildInfo(version string) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "kv_build_info",
		Help:        "1, with the version of the program and of the Go that it was built with",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	})
	info.Set(1)
	return info
}
