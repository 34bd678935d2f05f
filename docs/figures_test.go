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
	section, _, _ = strings.Cut(section, "\n#")
	var want strings.Builder
	for _, f := range protocol.Figures() {
		fmt.Fprintf(&want, "| `%s` | %s |\n", f.Name, f.Help)
	}
	_, rows, ok := strings.Cut(section, "|---|---|\n")
	require.True(t, ok)
	require.Equal(t, want.String(), rows)
}

// TestFiguresOfACluster: operations.md says of each metric of a cluster what /metrics says.
func TestFiguresOfACluster(t *testing.T) {
	page, err := os.ReadFile(root + "/docs/operations.md")
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(page), "\n### Figures of a cluster\n")
	require.True(t, ok)
	section, _, _ = strings.Cut(section, "\n## ")
	_, rows, ok := strings.Cut(section, "|---|---|\n")
	require.True(t, ok)
	var want strings.Builder
	for line := range strings.Lines(metricsOfANode(t)) {
		if help, ok := strings.CutPrefix(line, "# HELP kv_cluster_"); ok {
			name, help, _ := strings.Cut(strings.TrimSpace(help), " ")
			fmt.Fprintf(&want, "| `kv_cluster_%s` | %s |\n", name, help)
		}
	}
	if text := "| `kv_cluster_member_round_trip_seconds` |"; !strings.Contains(want.String(), text) { // a node alone has no other to measure it to
		before, after, _ := strings.Cut(rows, text)
		_, after, _ = strings.Cut(after, "\n")
		rows = before + after
	}
	require.Equal(t, want.String(), rows)
}

// TestMetrics: whatever metric a page names, /metrics has it.
func TestMetrics(t *testing.T) {
	known := served(t)
	metric := regexp.MustCompile(`\bkv_[a-z_]+`)
	for _, p := range pages(t) {
		for _, s := range p.code {
			for _, name := range metric.FindAllString(s.text, -1) {
				require.True(t, known[name], "%s:%d: there is no metric %s", p.path, s.line, name)
			}
		}
	}
}
