package docs_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// mayImport are the arrows of docs/architecture.md: which rooms a room's packages may import besides each other. Tests
// may import what they like.
var mayImport = map[string]string{
	"protocol":      "",
	"store":         "",
	"store/cluster": "store",
	"netserver":     "protocol store",
	"repl":          "protocol repl/files",
	"repl/files":    "",
	"cmd/internal":  "",
	"cmd/kvc":       "protocol repl cmd/internal",
	"cmd/kvd":       "protocol store store/cluster netserver repl/files cmd/internal",
	"docs":          "",
}

func TestImportsPointOneWay(t *testing.T) {
	list := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./...")
	list.Dir = root
	out, err := list.Output()
	require.NoError(t, err)
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		imports := strings.Fields(line)
		from := roomOf(imports[0])
		allowed, known := mayImport[from]
		if !known {
			t.Errorf("%s is in no room of docs/architecture.md", imports[0])
			continue
		}
		for _, imported := range imports[1:] {
			if to := roomOf(imported); to != "" && to != from && !strings.Contains(" "+allowed+" ", " "+to+" ") {
				t.Errorf("%s imports %s", imports[0], imported)
			}
		}
	}
}

// roomOf is the room that a package is in, "" for one that is not the project's.
func roomOf(path string) string {
	rest, own := strings.CutPrefix(path, "kv/")
	if !own {
		return ""
	}
	room, below, _ := strings.Cut(rest, "/")
	if room == "cmd" {
		program, _, _ := strings.Cut(below, "/")
		return room + "/" + program
	}
	if rest == "repl/files" { // a room of its own: the server's program uses it too
		return rest
	}
	if rest == "store/cluster" || strings.HasPrefix(rest, "store/cluster/") { // beside the store, which does not know it
		return "store/cluster"
	}
	return room
}
