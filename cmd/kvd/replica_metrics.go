package main

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"kv/store/cluster"
)

// replicaMetrics are the figures of a replica, as Prometheus collects them.
type replicaMetrics struct{ view func() (cluster.View, bool) }

// Describe sends nothing: there are none while the server belongs to no cluster.
func (replicaMetrics) Describe(chan<- *prometheus.Desc) {}

var (
	clusterLeads     = prometheus.NewDesc("kv_cluster_leads", "1 on the node that leads its cluster, else 0", nil, nil)
	clusterHasLeader = prometheus.NewDesc("kv_cluster_has_leader", "1 while the node knows of one that leads, else 0: nothing is written, and nothing read linearizably", nil, nil)
	clusterTerm      = prometheus.NewDesc("kv_cluster_term", "How often a leader was chosen, or was to be, since the cluster was founded", nil, nil)
	clusterCommitted = prometheus.NewDesc("kv_cluster_committed", "The entry of the log up to which a majority has it, as far as the node knows", nil, nil)
	clusterPublished = prometheus.NewDesc("kv_cluster_published", "The entry of the log up to which the node's reads show it", nil, nil)
	clusterVoters    = prometheus.NewDesc("kv_cluster_voters", "Members that count for a majority", nil, nil)
	clusterLearners  = prometheus.NewDesc("kv_cluster_learners", "Members that are getting the data, and count for no majority yet", nil, nil)
	memberReachable  = prometheus.NewDesc("kv_cluster_member_reachable", "1 while the node hears from the member, else 0", []string{"node", "peer"}, nil)
	memberBehind     = prometheus.NewDesc("kv_cluster_member_behind", "Entries of the log that the member lacks; only the node that leads says so", []string{"node", "peer"}, nil)
)

// Collect sends the figures of this moment.
func (m replicaMetrics) Collect(to chan<- prometheus.Metric) {
	v, ok := m.view()
	if !ok {
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(clusterLeads, zeroOrOne(v.Leader == v.Node))
	gauge(clusterHasLeader, zeroOrOne(v.Leader != 0))
	gauge(clusterTerm, float64(v.Term))
	gauge(clusterCommitted, float64(v.Committed))
	gauge(clusterPublished, float64(v.Published))
	voters := 0
	for _, x := range v.Members {
		id := strconv.FormatUint(x.ID, 10)
		gauge(memberReachable, zeroOrOne(x.Reachable), id, x.Peer)
		if v.Leader == v.Node {
			gauge(memberBehind, max(0, float64(v.Committed)-float64(x.Matched)), id, x.Peer)
		}
		if x.Voter {
			voters++
		}
	}
	gauge(clusterVoters, float64(voters))
	gauge(clusterLearners, float64(len(v.Members)-voters))
}

func zeroOrOne(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
