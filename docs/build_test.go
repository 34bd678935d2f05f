package docs_test

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// makes runs make with these arguments, in the project.
func makes(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("make", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=") // of its own, also within make test
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestBuild: what `make build` makes needs no library of the system, and says which version it is, as does what the go command
// makes by itself.
func TestBuild(t *testing.T) {
	made := t.TempDir()
	makes(t, "build", "BIN="+made, "VERSION=v1.2.3-test")
	for _, program := range []string{"kvc", "kvd"} {
		out, err := exec.Command(filepath.Join(made, program), "--version").Output()
		require.NoError(t, err)
		require.Equal(t, program+" v1.2.3-test\n", string(out))

		out, err = exec.Command(filepath.Join(bin, program), "--version").Output() // made by go build
		require.NoError(t, err)
		version := strings.TrimPrefix(string(out), program+" ")
		require.NotContains(t, version, "(devel)")
		require.Regexp(t, `^(v\d+\.\d+\.\d+|devel)`, version)

		if runtime.GOOS == "linux" {
			f, err := elf.Open(filepath.Join(made, program))
			require.NoError(t, err)
			libraries, err := f.ImportedLibraries()
			require.NoError(t, err)
			assert.Empty(t, libraries, program)
			for _, p := range f.Progs {
				assert.NotEqual(t, elf.PT_INTERP, p.Type, "%s is linked dynamically", program)
			}
			require.NoError(t, f.Close())
		}
	}
}
