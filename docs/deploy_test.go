package docs_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// The files of docs/deploy, and Dockerfile, say what kvd takes and serves. That others take them is tested in .ci/deploy,
// that kvd runs as they would run it by .ci/hosting.

func deployFile(t *testing.T, path string) string {
	text, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return string(text)
}

// documents are the documents of a YAML file of docs/deploy.
func documents(t *testing.T, path string) (all []map[string]any) {
	d := yaml.NewDecoder(strings.NewReader(deployFile(t, path)))
	for {
		var one map[string]any
		err := d.Decode(&one)
		if err == io.EOF {
			return all
		}
		require.NoError(t, err, path)
		all = append(all, one)
	}
}

// TestDeployedOptionsExist: each option and variable that a file of docs/deploy gives kvd is one.
func TestDeployedOptionsExist(t *testing.T) {
	known := helpFlags(t, "kvd")
	variables := make(map[string]bool)
	for option := range known {
		variables[asVariable("KVD_", option)] = true
	}
	paths := []string{"Dockerfile"}
	require.NoError(t, filepath.WalkDir(root+"/docs/deploy", func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(root, path)
			paths = append(paths, rel)
		}
		return err
	}))
	found := 0
	for _, path := range paths {
		text := deployFile(t, path)
		for _, name := range regexp.MustCompile(`\bKVD_[A-Z_]+\b`).FindAllString(text, -1) {
			found++
			require.Contains(t, variables, name, path)
		}
		for _, m := range regexp.MustCompile(`(?m)^\s+- (--[a-z-]+)=|kvd(?: [a-z]+)? (--[a-z-]+)|"/kvd"[^\n]*"(--[a-z-]+)"`).FindAllStringSubmatch(text, -1) {
			found++
			require.Contains(t, known, m[1]+m[2]+m[3], path)
		}
	}
	require.Greater(t, found, 15)
}

type rule struct {
	Alert, Expr string
	Annotations map[string]string
}

func alerts(t *testing.T) []rule {
	var file struct {
		Groups []struct{ Rules []rule }
	}
	require.NoError(t, yaml.Unmarshal([]byte(deployFile(t, "docs/deploy/prometheus/alerts.yaml")), &file))
	require.Len(t, file.Groups, 1)
	require.NotEmpty(t, file.Groups[0].Rules)
	return file.Groups[0].Rules
}

// shown are the expressions of the dashboard.
func shown(t *testing.T) (all []string) {
	var board struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(deployFile(t, "docs/deploy/grafana/kv.json")), &board))
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	require.NotEmpty(t, all)
	return all
}

var metricName = regexp.MustCompile(`\b(?:kv|go|process)_[a-z_]+\b`)

// TestMetricsOfAlertsAndDashboardExist: each has a name that /metrics of a running kvd has.
func TestMetricsOfAlertsAndDashboardExist(t *testing.T) {
	served := served(t)
	exprs := shown(t)
	for _, r := range alerts(t) {
		exprs = append(exprs, r.Expr)
	}
	for _, expr := range exprs {
		names := metricName.FindAllString(expr, -1)
		require.NotEmpty(t, names, expr)
		for _, name := range names {
			require.Contains(t, served, name, expr)
		}
	}
}

// served are the names of all metrics that a server with a data folder has, and a node of a cluster.
func served(t *testing.T) map[string]bool {
	names := map[string]bool{
		"kv_cluster_member_round_trip_seconds": true,                          // which takes another node: cmd/kvd's TestGrowAndShrink
		"kv_request_seconds":                   true, "kv_sync_seconds": true, // histograms, by their parts
	}
	for line := range strings.Lines(metricsOf(t, "--data", t.TempDir()+"/data") + metricsOfANode(t)) {
		if name, _, ok := strings.Cut(line, " "); ok && name != "#" {
			name, _, _ = strings.Cut(name, "{")
			names[name] = true
		}
	}
	return names
}

// metricsOfANode is what /metrics of a node says that is a cluster by itself.
func metricsOfANode(t *testing.T) string {
	free := func() string {
		for {
			at := fmt.Sprint("127.0.0.1:", 20_000+rand.IntN(10_000)) // below those that a system gives away by itself
			if l, err := net.Listen("tcp", at); err == nil {
				require.NoError(t, l.Close())
				return at
			}
		}
	}
	client, peer := free(), free()
	return metricsOf(t, "--data", t.TempDir()+"/data", "--sync", "always", "--advertise", client+","+peer,
		"--peer-listen", peer, "--peers", peer)
}

// metricsOf is what /metrics of a kvd says that was started with these arguments.
func metricsOf(t *testing.T, args ...string) string {
	cmd := exec.Command(filepath.Join(bin, "kvd"),
		append([]string{"--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"}, args...)...)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		io.Copy(io.Discard, stderr)
		require.NoError(t, cmd.Wait())
	}()
	var url string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if m := regexp.MustCompile(`http://[0-9.:]+/metrics`).FindString(lines.Text()); m != "" {
			url = m
		}
		if strings.Contains(lines.Text(), "listening on ") {
			break
		}
	}
	if slices.Contains(args, "--peers") { // it founds its cluster
		require.Eventually(t, func() bool {
			r, err := http.Get(strings.TrimSuffix(url, "/metrics") + "/readyz")
			if err != nil {
				return false
			}
			r.Body.Close()
			return r.StatusCode == http.StatusOK
		}, time.Minute, 10*time.Millisecond)
	}
	r, err := http.Get(url)
	require.NoError(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return string(body)
}

// TestEveryAlarmHasItsAlert: the alerts are those that docs/operations.md names, each looks at the metrics of its
// alarm, and each says what it means.
func TestEveryAlarmHasItsAlert(t *testing.T) {
	exprs := make(map[string]string)
	for _, r := range alerts(t) {
		exprs[r.Alert] = r.Expr
		require.NotEmpty(t, r.Annotations["summary"], r.Alert)
		require.NotEmpty(t, r.Annotations["description"], r.Alert)
	}
	_, table, ok := strings.Cut(deployFile(t, "docs/operations.md"), "| alarm | alert | means |\n|---|---|---|\n")
	require.True(t, ok)
	table, _, _ = strings.Cut(table, "\n\n")
	named := make(map[string]bool)
	for line := range strings.Lines(table) {
		columns := strings.Split(line, " | ")
		require.Len(t, columns, 3, line)
		var of []string
		for _, name := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(columns[1], -1) {
			named[name[1]] = true
			require.Contains(t, exprs, name[1], line)
			of = append(of, exprs[name[1]])
		}
		for _, metric := range metricName.FindAllString(columns[0], -1) {
			require.Contains(t, strings.Join(of, " "), metric, line)
		}
		require.True(t, len(of) > 0 || strings.HasPrefix(columns[1], "none: "), line)
	}
	for name := range exprs {
		require.Contains(t, named, name, "docs/operations.md has no alarm for the alert")
	}
}

// TestDeployedTimesFitTheDrain: whoever stops kvd waits longer than it may take by default, for requests and for the disk.
func TestDeployedTimesFitTheDrain(t *testing.T) {
	const needed = 20 // --drain twice
	require.Regexp(t, `(?m)^TimeoutStopSec=30$`, deployFile(t, "docs/deploy/systemd/kvd.service"))
	compose := documents(t, "docs/deploy/compose/compose.yaml")[0]
	require.Equal(t, "30s", compose["services"].(map[string]any)["kv"].(map[string]any)["stop_grace_period"])
	kinds := make(map[string]map[string]any)
	for _, d := range documents(t, "docs/deploy/kubernetes/kv.yaml") {
		kinds[d["kind"].(string)] = d
	}
	pod := kinds["StatefulSet"]["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
	require.Greater(t, pod["terminationGracePeriodSeconds"], needed)
	require.EqualValues(t, 1, kinds["StatefulSet"]["spec"].(map[string]any)["replicas"])
	// What it may write to is what it is told to write to.
	args := pod["containers"].([]any)[0].(map[string]any)["args"].([]any)
	require.True(t, slices.Contains(args, any("--data=/data/kv")), args)
}
