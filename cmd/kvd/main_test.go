package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kvd": main})
}

// TestScripts runs the stories in testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}

// TestManPages: they can be formatted without a warning, and name every option, its variable, and every exit code.
func TestManPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	out, code := run(t, "man", dir)
	require.Zero(t, code, out)
	pages, err := filepath.Glob(dir + "/*.1")
	require.NoError(t, err)
	require.Len(t, pages, 11)
	for _, page := range pages {
		cmd := exec.Command("man", "--warnings", "-l", page)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		_, err := cmd.Output()
		require.NoError(t, err)
		require.Empty(t, stderr.String(), page)
	}
	text, err := exec.Command("man", "-l", filepath.Join(dir, "kvd.1")).Output()
	require.NoError(t, err)
	for _, part := range []string{"--listen string", "KVD_TLS_CLIENT_CA", "kvd token USER", "EXIT STATUS", "--auth-file users"} {
		require.Contains(t, string(text), part)
	}
}

// TestExitCodesAreDocumented: docs/operations.md has the table of exit codes.
func TestExitCodesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	for code, means := range exitMeanings {
		require.Contains(t, string(page), fmt.Sprintf("| %d | %s |", code, means))
	}
}
