package main

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"kv/store/cluster"
)

// replicaMetrics are the figures of a replica, as Prometheus collects them.
type replicaMetrics struct{ view func() (cluster.View, bool) }

// Describe sends nothing: there are few while the server belongs to no cluster.
func (replicaMetrics) Describe(chan<- *prometheus.Desc) {}

func clusterDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("kv_cluster_"+name, help, labels, nil)
}

var (
	clusterLeads     = clusterDesc("leads", "1 on the node that leads its cluster, else 0")
	clusterHasLeader = clusterDesc("has_leader", "1 while the node knows of one that leads, else 0: nothing is written, and nothing read linearizably")
	clusterTerm      = clusterDesc("term", "How often a leader was chosen, or was to be, since the cluster was founded")
	clusterElections = clusterDesc("elections_total", "Leaders, this node or another, that it has seen chosen")
	clusterLogEnd    = clusterDesc("log_end", "The last entry of the log that the node has")
	clusterCommitted = clusterDesc("committed", "The entry of the log up to which a majority has it, as far as the node knows")
	clusterPublished = clusterDesc("published", "The entry of the log up to which the node's reads show it")
	clusterApplyLag  = clusterDesc("apply_lag_seconds",
		"How long the oldest entry that is committed, and that reads do not show yet, has waited for that")
	clusterSyncLag = clusterDesc("sync_lag_seconds",
		"How long the oldest part of the log that is to be made durable has waited for the disk")
	clusterVoters   = clusterDesc("voters", "Members that count for a majority")
	clusterSpare    = clusterDesc("spare_voters", "Voters that can be lost, of those that the node reaches, before there is no majority any more; negative: there is none")
	clusterLearners = clusterDesc("learners", "Members that are getting the data, and count for no majority yet")

	clusterBatches = clusterDesc("batches_total", "Entries of the log that the node has proposed, each with the writes that had come meanwhile")
	clusterWrites  = clusterDesc("batch_writes_total", "Writes in the entries that the node has proposed")
	clusterDropped = clusterDesc("proposals_dropped_total",
		"Entries that the node could not propose at once: it hands leadership over, or too much is under way")
	clusterRefused = clusterDesc("writes_refused_total",
		"Writes that the node did not take, since another leads, or none does; a client that follows MOVED finds the one that does")
	clusterUnknown = clusterDesc("writes_unknown_total",
		"Writes that the node could not see the end of, since it led no more: they are answered as ones that may have been applied")
	clusterRounds  = clusterDesc("read_rounds_total", "Rounds in which the node asked how new its reads have to be")
	clusterRetries = clusterDesc("read_round_retries_total",
		"Rounds that the node had to ask for again: an answer was lost, or another leads")
	clusterNoIndex = clusterDesc("read_rounds_failed_total", "Rounds without an answer in time: those reads were refused")
	clusterReads   = clusterDesc("reads_total", "Reads that waited for rounds; those that one connection sends together are one")
	clusterHangs   = clusterDesc("watchdog_hits_total",
		"How often the node, leading, had another lead because its disk did not answer")

	snapshotsSent = clusterDesc("snapshots_sent_total",
		"Copies of the state that the node has sent to members that lacked more than the log")
	snapshotsSendFailed  = clusterDesc("snapshots_send_failures_total", "Copies of the state that could not be sent")
	snapshotsSentSeconds = clusterDesc("snapshots_sent_seconds_total", "How long it took to send those that were, in seconds")
	snapshotsTaken       = clusterDesc("snapshots_taken_total", "Copies of the state that the node has received")
	snapshotsTakeFailed  = clusterDesc("snapshots_take_failures_total",
		"Copies of the state that the node was sent and could not take in")
	snapshotsTookSeconds = clusterDesc("snapshots_taken_seconds_total", "How long it took to take in those that were, in seconds")

	memberReachable = clusterDesc("member_reachable",
		"1 while the node hears from the member (the one that leads: within a second; others: it has a connection), else 0", "node", "peer")
	memberReadable = clusterDesc("member_format_readable",
		"The newest format that the member has said that it reads", "node", "peer")
	memberMemory = clusterDesc("member_memory_limit_bytes",
		"Bytes that data may take at the member, as it has said; the least is what the cluster takes; 0: any", "node", "peer")
	memberHistory = clusterDesc("member_history_depth",
		"Earlier versions to keep of a key that the member was started with", "node", "peer")
	memberRoundTrip = clusterDesc("member_round_trip_seconds",
		"How long the last message to the member and its answer took; missing: there was none", "node", "peer")
	memberBehind = clusterDesc("member_behind", "Entries of the log that the member lacks; only the node that leads says so", "node", "peer")
	memberBytes  = clusterDesc("member_behind_bytes",
		"Bytes of the log that the member lacks, as far as there is one; only the node that leads says so", "node", "peer")
)

// Collect sends the figures of this moment.
func (m replicaMetrics) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	count := func(d *prometheus.Desc, n uint64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n))
	}
	v, ok := m.view()
	leads := ok && v.Leader == v.Node
	gauge(clusterLeads, zeroOrOne(leads))
	gauge(clusterHasLeader, zeroOrOne(ok && v.Leader != 0))
	if !ok {
		return
	}
	gauge(clusterTerm, float64(v.Term))
	gauge(clusterLogEnd, float64(v.LogEnd))
	gauge(clusterCommitted, float64(v.Committed))
	gauge(clusterPublished, float64(v.Published))
	gauge(clusterApplyLag, v.Applying.Seconds())
	gauge(clusterSyncLag, v.Syncing.Seconds())
	voters, reached := 0, 0
	for _, x := range v.Members {
		id := strconv.FormatUint(x.ID, 10)
		gauge(memberReachable, zeroOrOne(x.Reachable), id, x.Peer)
		gauge(memberReadable, float64(x.Formats.Newest), id, x.Peer)
		if s := x.Settings; s.Said {
			gauge(memberMemory, float64(s.Memory), id, x.Peer)
			gauge(memberHistory, float64(s.History), id, x.Peer)
		}
		if x.RoundTrip > 0 {
			gauge(memberRoundTrip, x.RoundTrip.Seconds(), id, x.Peer)
		}
		if leads {
			gauge(memberBehind, max(0, float64(v.LogEnd)-float64(x.Matched)), id, x.Peer)
			gauge(memberBytes, float64(x.Behind), id, x.Peer)
		}
		if x.Voter {
			voters++
			if x.Reachable {
				reached++
			}
		}
	}
	gauge(clusterVoters, float64(voters))
	gauge(clusterSpare, float64(reached-voters/2-1))
	gauge(clusterLearners, float64(len(v.Members)-voters))

	c := v.Counts
	for _, x := range []struct {
		desc *prometheus.Desc
		n    uint64
	}{
		{clusterElections, c.Elections}, {clusterBatches, c.Batches}, {clusterWrites, c.Writes}, {clusterDropped, c.Dropped},
		{clusterRefused, c.Refused}, {clusterUnknown, c.Unknown}, {clusterRounds, c.Rounds},
		{clusterRetries, c.Retries}, {clusterNoIndex, c.NoIndex},
		{clusterReads, c.Reads}, {clusterHangs, c.DiskHangs},
		{snapshotsSent, c.Sent.Done}, {snapshotsSendFailed, c.Sent.Failed}, {snapshotsTaken, c.Taken.Done},
		{snapshotsTakeFailed, c.Taken.Failed},
	} {
		count(x.desc, x.n)
	}
	seconds := func(d *prometheus.Desc, x cluster.SnapshotCounts) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, x.Took.Seconds())
	}
	seconds(snapshotsSentSeconds, c.Sent)
	seconds(snapshotsTookSeconds, c.Taken)
}

func zeroOrOne(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
