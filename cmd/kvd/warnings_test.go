package main

import (
	"bytes"
	"log/slog"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMemoryThatIsNotThereIsWarnedOf: and it is not used. The default never is too much.
func TestMemoryThatIsNotThereIsWarnedOf(t *testing.T) {
	for _, c := range []struct {
		max, granted, used int64
		warning            string
	}{
		{1 << 30, 2 << 30, 1 << 30, ""},
		{256 << 20, 512 << 20, 256 << 20, ""},
		{190 << 20, 300 << 20, 190 << 20, ""},
		{280 << 20, 300 << 20, 199 << 20, "leaves too little"},
		{1<<30 + 1, 1 << 30, 742 << 20, "more than there is"},
		{4 << 30, 512 << 20, 358 << 20, "more than there is"},
	} {
		var out bytes.Buffer
		require.Equal(t, c.used, checkMemory(c.max, c.granted, slog.New(slog.NewTextHandler(&out, nil))), "%+v", c)
		require.Contains(t, out.String(), c.warning)
		require.Equal(t, c.warning == "", out.Len() == 0)
	}
	for granted := int64(16 << 20); granted < 1<<40; granted += granted / 3 {
		require.LessOrEqual(t, defaultMemory(granted), mostMemory(granted), "%d", granted)
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
		require.Equal(t, c.warned, bytes.Contains(out.Bytes(), []byte("others may write to the data folder")),
			"%v %s", c.mode, &out)
	}
	p := start(t, "--data", everyones(t), "--max-memory", "1000TiB")
	p.stop(os.Interrupt)
	require.Contains(t, p.seen, "others may write to the data folder, and so change or remove what is in it: chmod go-w it")
	require.Contains(t, p.seen, "--max-memory is more than there is: less is used")
}

func everyones(t *testing.T) string {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	return dir
}
