package docs_test

import (
	"bufio"
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

// TestInstall: what `make install` puts below PREFIX works from there, is readable by all, and is what `make uninstall` removes.
func TestInstall(t *testing.T) {
	dest := t.TempDir()
	args := []string{"BIN=" + t.TempDir(), "DESTDIR=" + dest, "PREFIX=/opt/a kv"}
	makes(t, append(args, "install")...)
	files := func() (all []string) {
		require.NoError(t, filepath.WalkDir(dest, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				info, err := d.Info()
				require.NoError(t, err)
				assert.Equal(t, os.FileMode(0o444), info.Mode()&0o444, path)
				assert.Positive(t, info.Size(), path)
				rel, err := filepath.Rel(dest+"/opt/a kv", path)
				require.NoError(t, err)
				all = append(all, rel)
			}
			return err
		}))
		return all
	}
	installed := files()
	for _, want := range []string{
		"bin/kvc", "bin/kvd", "share/man/man1/kvc.1", "share/man/man1/kvd.1", "share/man/man1/kvc-set.1", "share/man/man1/kvd-token.1",
		"share/bash-completion/completions/kvc", "share/bash-completion/completions/kvd", "share/zsh/site-functions/_kvc",
		"share/zsh/site-functions/_kvd", "share/fish/vendor_completions.d/kvc.fish", "share/fish/vendor_completions.d/kvd.fish",
	} {
		require.Contains(t, installed, want)
	}
	for _, program := range []string{"kvc", "kvd"} {
		require.NoError(t, exec.Command(dest+"/opt/a kv/bin/"+program, "--version").Run())
		require.NoError(t, exec.Command("bash", "-n", dest+"/opt/a kv/share/bash-completion/completions/"+program).Run())
	}
	makes(t, append(args, "uninstall")...)
	require.Empty(t, files())
}

// TestRunSaysHowToReachIt: `make run` prints a line that works in another terminal.
func TestRunSaysHowToReachIt(t *testing.T) {
	project := t.TempDir()
	require.NoError(t, os.Mkdir(project+"/.ci", 0o755))
	require.NoError(t, os.Symlink(bin, project+"/bin"))
	play, err := os.ReadFile(root + "/.ci/play")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(project+"/.ci/play", play, 0o755))

	cmd := exec.Command(project + "/.ci/play")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stderr).ReadString('\n')
	require.NoError(t, err)
	other, ok := strings.CutPrefix(strings.TrimSpace(line), "from another terminal: ")
	require.True(t, ok, line)
	require.Regexp(t, `/bin/kvc --addr 127\.0\.0\.1:\d+$`, other)
	out, err := exec.Command("sh", "-c", other+" ping").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
}
