package vfs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/store/vfs"
)

// The two ways to sync: with one processor for Go code, and with more.
func onProcessors(t *testing.T, test func(t *testing.T)) {
	for name, n := range map[string]int{"one processor": 1, "two": 2} {
		t.Run(name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
			test(t)
		})
	}
}

func TestSync(t *testing.T) {
	onProcessors(t, func(t *testing.T) {
		dir := t.TempDir()
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b", "c", "d"} {
			wg.Go(func() {
				f, err := vfs.OS.Create(filepath.Join(dir, name))
				if !assert.NoError(t, err) {
					return
				}
				for range 20 {
					_, err = f.Write([]byte(name))
					assert.NoError(t, err)
					assert.NoError(t, f.Sync())
				}
				assert.NoError(t, f.Close())
				assert.ErrorIs(t, f.Sync(), syscall.EBADF)
			})
		}
		wg.Wait()
		b, err := os.ReadFile(filepath.Join(dir, "d"))
		require.NoError(t, err)
		require.Equal(t, bytes.Repeat([]byte("d"), 20), b)
	})
}

// A file that has nothing to sync, as a pipe, has an error on either way.
func TestSyncRefused(t *testing.T) {
	onProcessors(t, func(t *testing.T) {
		pipe := filepath.Join(t.TempDir(), "pipe")
		require.NoError(t, syscall.Mkfifo(pipe, 0o600))
		f, err := vfs.OS.Create(pipe)
		require.NoError(t, err)
		defer f.Close()
		require.ErrorContains(t, f.Sync(), "invalid argument")
	})
}

// Write goes over the zeros that Zero has put behind it, and Truncate takes the rest of them back.
func TestZero(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	f, err := vfs.OS.Create(name)
	require.NoError(t, err)
	defer f.Close()
	content := func() string {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		return string(b)
	}
	write := func(s string) {
		_, err := f.Write([]byte(s))
		require.NoError(t, err)
	}
	write("one")
	require.NoError(t, f.Zero(3, 200_000))
	require.Equal(t, "one"+string(make([]byte, 199_997)), content())
	write("two")
	require.NoError(t, f.Truncate(10))
	require.Equal(t, "onetwo\x00\x00\x00\x00", content())
	write("three")
	require.Equal(t, "onetwothree", content())
	require.NoError(t, f.Truncate(6))
	require.Equal(t, "onetwo", content())
}
