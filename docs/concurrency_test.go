package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryAtomicAndLockIsInTheTables: docs/concurrency.md says of each atomic and each lock of the map what it
// publishes or guards.
func TestEveryAtomicAndLockIsInTheTables(t *testing.T) {
	page, err := os.ReadFile("concurrency.md")
	require.NoError(t, err)
	listed := make(map[string]bool)
	for _, row := range regexp.MustCompile(`(?m)^\| [^|]+\|`).FindAllString(string(page), -1) {
		for _, name := range regexp.MustCompile("`[^`]+`").FindAllString(row, -1) {
			name = strings.TrimSuffix(strings.Trim(name, "`"), "[i]")
			listed[name[strings.LastIndexByte(name, '.')+1:]] = true
		}
	}
	// What the page calls by a noun, and fields within a field that it names.
	for _, field := range []string{"mu", "gets", "misses", "sets", "dels", "bytes", "state"} {
		listed[field] = true
	}
	found := 0
	for _, dir := range []string{"store", "store/table", "store/arena", "store/epoch"} {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		require.NoError(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			require.NoError(t, err)
			ast.Inspect(parsed, func(n ast.Node) bool {
				s, ok := n.(*ast.StructType)
				if !ok {
					return true
				}
				for _, f := range s.Fields.List {
					for _, name := range f.Names {
						if isShared(f.Type) {
							if found++; !listed[name.Name] {
								t.Errorf("%s: %s is in no table of docs/concurrency.md", file, name.Name)
							}
						}
					}
				}
				return true
			})
		}
	}
	require.Greater(t, found, 30)
}

// isShared reports whether a field is an atomic or a lock, or some.
func isShared(e ast.Expr) (shared bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		if x, ok := n.(*ast.SelectorExpr); ok {
			p, _ := x.X.(*ast.Ident)
			shared = shared || p != nil && (p.Name == "atomic" || p.Name == "sync" && strings.HasSuffix(x.Sel.Name, "Mutex"))
		}
		_, inner := n.(*ast.StructType)
		return !inner
	})
	return shared
}
