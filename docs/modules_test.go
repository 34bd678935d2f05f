package docs_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

var moduleRow = regexp.MustCompile("(?m)^\\| (`[^|]*)\\|")

// TestLibrariesAreThoseOfTheModules: docs/decisions.md gives the reason for each module that the project requires, and for
// none that it doesn't.
func TestLibrariesAreThoseOfTheModules(t *testing.T) {
	text, err := os.ReadFile(root + "/docs/decisions.md")
	require.NoError(t, err)
	var named []string
	for _, row := range moduleRow.FindAllStringSubmatch(string(text), -1) {
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			named = append(named, m[1])
		}
	}
	required := make(map[string]bool)
	for _, dir := range []string{root, root + "/store/peers", root + "/netserver/resp/clienttest",
		root + "/netserver/rest/conformance"} {
		var mod struct {
			Require []struct {
				Path     string
				Indirect bool
			}
		}
		cmd := exec.Command("go", "mod", "edit", "-json")
		cmd.Dir = dir
		out, err := cmd.Output()
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(out, &mod))
		for _, m := range mod.Require {
			if !m.Indirect && m.Path != "kv" {
				required[m.Path] = true
			}
		}
	}
	var want []string
	for path := range required {
		want = append(want, path)
	}
	require.ElementsMatch(t, want, named)
}
