package main

import (
	"bytes"
	"log/slog"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMemoryThatIsNotThereIsWarnedOf(t *testing.T) {
	for _, c := range []struct {
		max, granted int64
		warned       bool
	}{{1 << 30, 1 << 30, false}, {1<<30 + 1, 1 << 30, true}, {4 << 30, 512 << 20, true}} {
		var out bytes.Buffer
		checkMemory(c.max, c.granted, slog.New(slog.NewTextHandler(&out, nil)))
		require.Equal(t, c.warned, bytes.Contains(out.Bytes(), []byte("--max-memory is more than there is")), "%s", &out)
	}
}

func TestFolderOfEveryoneIsWarnedOf(t *testing.T) {
	for _, c := range []struct {
		mode   os.FileMode
		warned bool
	}{{0o700, false}, {0o755, false}, {0o775, true}, {0o757, true}, {0o777, true}} {
		dir := t.TempDir()
		require.NoError(t, os.Chmod(dir, c.mode))
		var out bytes.Buffer
		checkFolder(dir, slog.New(slog.NewTextHandler(&out, nil)))
		require.Equal(t, c.warned, bytes.Contains(out.Bytes(), []byte("others may write to the data folder")), "%v %s", c.mode, &out)
	}
	p := start(t, "--data", everyones(t), "--max-memory", "1000TiB")
	p.stop(os.Interrupt)
	require.Contains(t, p.seen, "others may write to the data folder, and so change or remove what is in it: chmod go-w it")
	require.Contains(t, p.seen, "--max-memory is more than there is: the system will end the server before it refuses a write")
}

func everyones(t *testing.T) string {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	return dir
}
