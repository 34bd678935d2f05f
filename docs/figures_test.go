package docs_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/protocol"
)

// TestFigures: operations.md says of each figure what the protocol's table says.
func TestFigures(t *testing.T) {
	page, err := os.ReadFile(root + "/docs/operations.md")
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(page), "\n### Figures\n")
	require.True(t, ok)
	section, _, _ = strings.Cut(section, "\n## ")
	var want strings.Builder
	for _, f := range protocol.Figures() {
		fmt.Fprintf(&want, "| `%s` | %s |\n", f.Name, f.Help)
	}
	_, rows, ok := strings.Cut(section, "|---|---|\n")
	require.True(t, ok)
	require.Equal(t, want.String(), rows)
}

// TestMetrics: whatever metric a page names, /metrics has it.
func TestMetrics(t *testing.T) {
	known := map[string]bool{
		"kv_request_seconds": true, "kv_request_seconds_bucket": true, "kv_sync_seconds": true, "kv_sync_seconds_bucket": true,
		"kv_build_info": true, "kv_refusals_total": true,
	}
	for _, name := range []string{"leads", "has_leader", "term", "committed", "published", "voters", "learners", "member_reachable", "member_behind"} {
		known["kv_cluster_"+name] = true // cmd/kvd's TestGrowAndShrink
	}
	for _, f := range protocol.Figures() {
		name := "kv_" + f.Name
		if f.Counter {
			name = strings.TrimSuffix(name, "_total") + "_total"
		}
		known[name] = true
	}
	metric := regexp.MustCompile(`\bkv_[a-z_]+`)
	for _, p := range pages(t) {
		for _, s := range p.code {
			for _, name := range metric.FindAllString(s.text, -1) {
				require.True(t, known[name], "%s:%d: there is no metric %s", p.path, s.line, name)
			}
		}
	}
}
