package deploy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/stretchr/testify/require"
)

const deploy = "../../docs/deploy"

// healthy is an hour of a server without a care, a sample a minute, in the notation of Prometheus's own tests.
var healthy = map[string]string{
	`up{job="kv"}`:                              "1x60",
	`kv_build_info{version="v1"}`:               "1x60",
	`kv_uptime_seconds{}`:                       "0+60x60",
	`kv_read_only{}`:                            "0x60",
	`kv_log_begin_failures_total{}`:             "0x60",
	`kv_snapshot_failures_total{}`:              "0x60",
	`kv_memory_limit_bytes{}`:                   "4294967296x60", // of which data get all but 576 MiB
	`kv_data_memory_bytes{}`:                    "3000000000x60",
	`kv_waiting_memory_bytes{}`:                 "1000000x60",
	`kv_request_memory_bytes{}`:                 "100000000x60",
	`kv_connections_cut_off_total{}`:            "3x60",
	`kv_log_bytes{}`:                            "0+1000000x60",
	`kv_snapshot_bytes{}`:                       "1000000000x60",
	`kv_snapshot_age_seconds{}`:                 "0+60x60",
	`kv_sync_seconds_bucket{le="0.0512"}`:       "0+1000x60",
	`kv_sync_seconds_bucket{le="0.4096"}`:       "0+1000x60",
	`kv_sync_seconds_bucket{le="+Inf"}`:         "0+1000x60",
	`kv_request_seconds_bucket{le="0.0512"}`:    "0+1000x60",
	`kv_request_seconds_bucket{le="0.4096"}`:    "0+1000x60",
	`kv_request_seconds_bucket{le="+Inf"}`:      "0+1000x60",
	`kv_log_queued_bytes{}`:                     "65536x60",
	`kv_connections_refused_total{}`:            "0x60",
	`kv_connections{}`:                          "50x60",
	`kv_refusals_total{status="OUT_OF_MEMORY"}`: "0x60",
	`kv_refusals_total{status="UNAVAILABLE"}`:   "5x60",
	`kv_refusals_total{status="INTERNAL"}`:      "0x60",
	`kv_refusals_total{status="BAD_REQUEST"}`:   "0+1x60",
	`kv_conflicts_total{}`:                      "0+10x60",
	`kv_set_ops_total{}`:                        "0+6000x60",
	`kv_history_evicted_total{}`:                "0x60",
	`kv_login_failures_total{}`:                 "0x60",
	`kv_handshake_failures_total{}`:             "0x60",
	`kv_log_lines_dropped_total{}`:              "0x60",

	// As one of a cluster of three, which leads.
	`kv_cluster_leads{}`:                          "1x60",
	`kv_cluster_has_leader{}`:                     "1x60",
	`kv_cluster_voters{}`:                         "3x60",
	`kv_cluster_spare_voters{}`:                   "1x60",
	`kv_cluster_learners{}`:                       "0x60",
	`kv_cluster_elections_total{}`:                "2x60",
	`kv_cluster_watchdog_hits_total{}`:            "1x60",
	`kv_cluster_sync_lag_seconds{}`:               "0.002x60",
	`kv_cluster_apply_lag_seconds{}`:              "0.002x60",
	`kv_cluster_snapshots_sent_total{}`:           "3x60",
	`kv_cluster_snapshots_send_failures_total{}`:  "0x60",
	`kv_cluster_snapshots_take_failures_total{}`:  "0x60",
	`kv_cluster_read_rounds_failed_total{}`:       "7x60",
	`kv_cluster_writes_unknown_total{}`:           "7x60",
	`kv_cluster_member_reachable{node="1"}`:       "1x60",
	`kv_cluster_member_reachable{node="2"}`:       "1x60",
	`kv_cluster_member_behind_bytes{node="2"}`:    "100000x60",
	`kv_cluster_member_format_readable{node="1"}`: "2x60",
	`kv_cluster_member_format_readable{node="2"}`: "2x60",
	`kv_cluster_settings_differ{}`:                "0x60",
}

const rises = "0x50 1x10"

// sick is, for each alert, what is otherwise then; all of it is enough.
var sick = map[string][]map[string]string{
	"KvDown":          {{`up{job="kv"}`: "0x60"}, {`kv_build_info{version="v1"}`: "_x60"}},
	"KvLoading":       {{`kv_uptime_seconds{}`: "_x60"}},
	"KvReadOnly":      {{`kv_read_only{}`: "1x60"}},
	"KvLogFilesFail":  {{`kv_log_begin_failures_total{}`: rises}},
	"KvSnapshotsFail": {{`kv_snapshot_failures_total{}`: rises}},
	"KvMemoryNearlyFull": {
		{`kv_data_memory_bytes{}`: "3400000000x60"},
		{`kv_memory_limit_bytes{}`: "1073741824x60", `kv_data_memory_bytes{}`: "730000000x60"}, // three quarters of it are 805 million
	},
	"KvReaderHoldsMemory":       {{`kv_waiting_memory_bytes{}`: "50000000x60"}},
	"KvRequestMemoryNearlyFull": {{`kv_request_memory_bytes{}`: "250000000x60"}},
	"KvClientsCutOff":           {{`kv_connections_cut_off_total{}`: rises}},
	"KvLogGrows":                {{`kv_log_bytes{}`: "3000000000x60"}},
	"KvSnapshotOld":             {{`kv_snapshot_age_seconds{}`: "100000x60"}},
	"KvSyncsSlow":               {{`kv_sync_seconds_bucket{le="0.4096"}`: "0+1100x60", `kv_sync_seconds_bucket{le="+Inf"}`: "0+1100x60"}},
	"KvDiskBehind":              {{`kv_log_queued_bytes{}`: "10000000x60"}},
	"KvConnectionsRefused":      {{`kv_connections_refused_total{}`: "0x57 1x3"}},
	"KvConnectionsNearlyAll":    {{`kv_connections{}`: "9500x60"}},
	"KvOutOfMemory":             {{`kv_refusals_total{status="OUT_OF_MEMORY"}`: "0x57 1x3"}},
	"KvTrouble": {{`kv_refusals_total{status="UNAVAILABLE"}`: "0x57 1x3"}, {`kv_refusals_total{status="INTERNAL"}`: "0x57 1x3"},
		{`kv_refusals_total{status="INTERNAL"}`: "0x57 1x3", `kv_cluster_elections_total{}`: "2x57 3x3"}},
	"KvClientsWrong":    {{`kv_refusals_total{status="BAD_REQUEST"}`: "0+600x60"}},
	"KvRequestsSlow":    {{`kv_request_seconds_bucket{le="0.4096"}`: "0+1100x60", `kv_request_seconds_bucket{le="+Inf"}`: "0+1100x60"}},
	"KvConflicts":       {{`kv_conflicts_total{}`: "0+6600x60"}},
	"KvHistoryEvicted":  {{`kv_history_evicted_total{}`: rises}},
	"KvLoginsFail":      {{`kv_login_failures_total{}`: "0+10x60"}, {`kv_handshake_failures_total{}`: "0+10x60"}},
	"KvLogLinesDropped": {{`kv_log_lines_dropped_total{}`: rises}},

	"KvClusterNoLeader":          {{`kv_cluster_has_leader{}`: "0x60", `kv_cluster_leads{}`: "0x60"}},
	"KvClusterOneFromLosing":     {{`kv_cluster_spare_voters{}`: "0x60"}, {`kv_cluster_spare_voters{}`: "0x60", `kv_cluster_voters{}`: "2x60"}},
	"KvClusterMemberUnreachable": {{`kv_cluster_member_reachable{node="2"}`: "0x60"}},
	"KvClusterFollowerBehind":    {{`kv_cluster_member_behind_bytes{node="2"}`: "100000000x60"}},
	"KvClusterElections":         {{`kv_cluster_elections_total{}`: "0+1x60"}},
	"KvClusterDiskHangs":         {{`kv_cluster_watchdog_hits_total{}`: rises}, {`kv_cluster_sync_lag_seconds{}`: "3x60"}},
	"KvClusterApplyLag":          {{`kv_cluster_apply_lag_seconds{}`: "3x60"}},
	"KvClusterLearnerStuck":      {{`kv_cluster_learners{}`: "1x60"}},
	"KvClusterSnapshotLoop": {
		{`kv_cluster_snapshots_sent_total{}`: "0+1x60"}, {`kv_cluster_snapshots_send_failures_total{}`: "0+1x60"}, {`kv_cluster_snapshots_take_failures_total{}`: "0+1x60"},
	},
	"KvClusterReadsFail":      {{`kv_cluster_read_rounds_failed_total{}`: "7x57 9x3"}},
	"KvClusterFormatHeldBack": {{`kv_cluster_member_format_readable{node="2"}`: "1x60"}, {`kv_cluster_member_format_readable{node="1"}`: "1x60"}},
	"KvClusterSettingsDiffer": {{`kv_cluster_settings_differ{}`: "1x60"}},
	"KvClusterUnknownWrites":  {{`kv_cluster_writes_unknown_total{}`: "7x57 9x3"}},
}

// TestAlerts: Prometheus takes the file; each alert has its reason within the hour when something is wrong with what it is
// about, and none has one while all is well.
func TestAlerts(t *testing.T) {
	text, err := os.ReadFile(deploy + "/prometheus/alerts.yaml")
	require.NoError(t, err)
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, parser.NewParser(parser.Options{}),
		slog.New(slog.DiscardHandler))
	require.Empty(t, errs)
	require.Len(t, groups.Groups, 1)
	var names []string
	for _, r := range groups.Groups[0].Rules {
		names = append(names, r.Alert)
		require.Empty(t, fires(t, r.Expr, nil), "%s fires while all is well", r.Alert)
		require.NotEmpty(t, sick[r.Alert], "%s is fired by no story", r.Alert)
		require.Empty(t, fires(t, r.Expr, unwell[r.Alert]), "%s, when %v", r.Alert, unwell[r.Alert])
		for _, wrong := range sick[r.Alert] {
			require.Len(t, fires(t, r.Expr, wrong), 1, "%s, when %v", r.Alert, wrong)
		}
		require.Contains(t, []string{"critical", "warning", "info"}, r.Labels["severity"], r.Alert)
		require.Less(t, time.Duration(r.For), time.Hour, r.Alert)
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(sick)), names)
}

// unwell is what is no reason for an alert.
var unwell = map[string]map[string]string{
	"KvTrouble":                  {`kv_refusals_total{status="UNAVAILABLE"}`: "5x57 9x3", `kv_cluster_elections_total{}`: "2x57 3x3"}, // an election
	"KvClusterOneFromLosing":     {`kv_cluster_spare_voters{}`: "0x60", `kv_cluster_voters{}`: "1x60"},                                // founded as one, which is its owner's choice
	"KvClusterMemberUnreachable": {`kv_cluster_member_reachable{node="2"}`: "0x60", `kv_cluster_leads{}`: "0x60"},                     // as one that does not lead sees it
	"KvClusterLearnerStuck":      {`kv_cluster_learners{}`: "1x60", `kv_cluster_leads{}`: "0x60"},
	"KvClusterNoLeader":          {`kv_cluster_leads{}`: "0x60"},
	"KvClusterSettingsDiffer":    {`kv_cluster_settings_differ{}`: "1x60", `kv_cluster_leads{}`: "0x60"},
	"KvClusterFormatHeldBack":    {`kv_cluster_member_format_readable{node="2"}`: "1x60", `kv_cluster_leads{}`: "0x60"},
}

// fires evaluates an alert's expression at the end of an hour that is healthy but for what is wrong.
func fires(t *testing.T, expr string, wrong map[string]string) promql.Vector {
	series := maps.Clone(healthy)
	for name := range wrong {
		require.Contains(t, healthy, name)
	}
	maps.Copy(series, wrong)
	load := "load 1m\n"
	for name, values := range series {
		labels := strings.TrimSuffix(name, "}") + `,instance="a"}`
		if !strings.HasPrefix(name, "up{") {
			labels = strings.TrimSuffix(labels, "}") + `,job="kv"}`
		}
		load += fmt.Sprintf("  %s %s\n", strings.Replace(labels, "{,", "{", 1), values)
	}
	storage := promqltest.LoadedStorage(t, load)
	defer storage.Close()
	engine := promqltest.NewTestEngine(t, false, 0, 1e6)
	query, err := engine.NewInstantQuery(context.Background(), storage, nil, expr, time.Unix(3600, 0))
	require.NoError(t, err, expr)
	defer query.Close()
	result := query.Exec(context.Background())
	require.NoError(t, result.Err, expr)
	vector, err := result.Vector()
	require.NoError(t, err, expr)
	return append(promql.Vector(nil), vector...)
}

// TestDashboard: each panel's expressions are PromQL, panels do not overlap, and each has a title.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile(deploy + "/grafana/kv.json")
	require.NoError(t, err)
	var board struct {
		UID, Title string
		Panels     []struct {
			ID          int
			Type, Title string
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &board))
	taken := make(map[[2]int]string)
	ids := make(map[int]bool)
	for _, p := range board.Panels {
		require.NotEmpty(t, p.Title)
		require.False(t, ids[p.ID], p.Title)
		ids[p.ID] = true
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				require.Empty(t, taken[[2]int{x, y}], "%s lies over it", p.Title)
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" {
			require.NotEmpty(t, p.Targets, p.Title)
		}
		for _, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*").Replace(target.Expr)
			_, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
			require.NoError(t, err, "%s: %s", p.Title, expr)
		}
	}
	require.Greater(t, len(ids), 15)
}
