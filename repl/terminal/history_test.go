package terminal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHistoryFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "kv", "history")
	h := openHistory(file, func(line string) bool { return strings.Contains(line, "secret") })
	for _, line := range []string{"get a", "get a", "set secret x", "get b"} {
		h.add(line)
	}
	h.close()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "get a\nget b\n", string(b))
	for path, mode := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): 0o700} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm(), path)
	}
}

func TestALongHistoryIsShortened(t *testing.T) {
	file := filepath.Join(t.TempDir(), "history")
	var all strings.Builder
	for i := range 3 * historyLimit {
		fmt.Fprintln(&all, "get", i)
	}
	all.WriteString("not \xff UTF-8\n")
	require.NoError(t, os.WriteFile(file, []byte(all.String()), 0o644))
	h := openHistory(file, nil)
	h.close()
	assert.Len(t, h.lines, historyLimit)
	assert.Equal(t, fmt.Sprint("get ", 3*historyLimit-1), h.lines[historyLimit-1])
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, historyLimit, strings.Count(string(b), "\n"))
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
}

// The history may be a link to a file elsewhere, and stays one when the file is shortened. A FIFO is no history: it is not
// opened, and stays as it is.
func TestTheHistoryFileMayBeALink(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/elsewhere", []byte(strings.Repeat("get a\n", 3*historyLimit)), 0o600))
	require.NoError(t, os.Symlink("elsewhere", dir+"/history"))
	h := openHistory(dir+"/history", nil)
	h.add("get b")
	h.close()
	b, err := os.ReadFile(dir + "/elsewhere")
	require.NoError(t, err)
	assert.Equal(t, historyLimit+1, strings.Count(string(b), "\n"), "it was shortened")
	info, err := os.Lstat(dir + "/history")
	require.NoError(t, err)
	assert.Equal(t, os.ModeSymlink, info.Mode().Type())

	require.NoError(t, syscall.Mkfifo(dir+"/fifo", 0o640)) // to open it would wait for ever
	require.NoError(t, os.Chmod(dir+"/fifo", 0o640))
	h = openHistory(dir+"/fifo", nil)
	h.add("get b")
	h.close()
	info, err = os.Lstat(dir + "/fifo")
	require.NoError(t, err)
	assert.Equal(t, os.ModeNamedPipe|0o640, info.Mode())
}

func TestNoHistoryFileIsNoReasonToStop(t *testing.T) {
	for _, file := range []string{"", "/dev/null/history"} {
		h := openHistory(file, nil)
		h.add("get a")
		h.close()
	}
}
