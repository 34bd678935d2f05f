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
				for i := range int64(20) {
					_, err = f.WriteAt([]byte(name), i)
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

// What can't be synced, as a file of /proc, has an error on either way.
func TestSyncRefused(t *testing.T) {
	onProcessors(t, func(t *testing.T) {
		f, err := vfs.OS.Create("/proc/self/comm")
		require.NoError(t, err)
		defer f.Close()
		require.ErrorContains(t, f.Sync(), "invalid argument")
	})
}

// WriteAt goes over the zeros that Zero and Allocate have put behind it, and Truncate takes the rest of them back.
func TestZeros(t *testing.T) {
	fills := map[string]func(f vfs.File, from, to int64) error{"zero": vfs.File.Zero, "allocate": vfs.File.Allocate}
	for what, fill := range fills {
		t.Run(what, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "file")
			f, err := vfs.OS.Create(name)
			require.NoError(t, err)
			defer f.Close()
			content := func() string {
				b, err := os.ReadFile(name)
				require.NoError(t, err)
				return string(b)
			}
			write := func(at int64, s string) {
				_, err := f.WriteAt([]byte(s), at)
				require.NoError(t, err)
			}
			write(0, "one")
			require.NoError(t, fill(f, 3, 200_000))
			require.Equal(t, "one"+string(make([]byte, 199_997)), content())
			write(3, "two")
			require.NoError(t, f.Truncate(10))
			require.Equal(t, "onetwo\x00\x00\x00\x00", content())
			write(6, "three")
			require.Equal(t, "onetwothree", content())
			require.NoError(t, f.Truncate(6))
			require.Equal(t, "onetwo", content())
		})
	}
}

// Only regular files are opened: nothing follows a link out of the folder, and nothing waits for the other end of a FIFO.
func TestOnlyRegularFiles(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(in("target"), []byte("untouched"), 0o600))
	require.NoError(t, os.Symlink("target", in("link")))
	require.NoError(t, os.Symlink("nowhere", in("dangling")))
	require.NoError(t, syscall.Mkfifo(in("fifo"), 0o600))
	require.NoError(t, os.Mkdir(in("folder"), 0o700))
	opens := map[string]func(name string) error{
		"create":      func(name string) error { _, err := vfs.OS.Create(name); return err },
		"open":        func(name string) error { _, err := vfs.OS.Open(name); return err },
		"lock":        func(name string) error { _, err := vfs.OS.Lock(name); return err },
		"lock shared": func(name string) error { _, err := vfs.OS.LockShared(name); return err },
	}
	for what, open := range opens {
		for name, why := range map[string]string{"link": "symbolic link", "dangling": "symbolic link", "fifo": "not a regular file", "folder": "director|regular"} {
			err := open(in(name))
			require.Error(t, err, "%s %s", what, name)
			require.Regexp(t, why, err.Error(), "%s %s", what, name)
			require.ErrorContains(t, err, in(name))
		}
	}
	b, err := os.ReadFile(in("target"))
	require.NoError(t, err)
	require.Equal(t, "untouched", string(b))
	_, err = os.Lstat(in("nowhere"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// Shared locks go together, and with no other; and the file must be there.
func TestLocks(t *testing.T) {
	name := filepath.Join(t.TempDir(), "LOCK")
	_, err := vfs.OS.LockShared(name)
	require.ErrorIs(t, err, os.ErrNotExist)
	alone, err := vfs.OS.Lock(name)
	require.NoError(t, err)
	_, err = vfs.OS.LockShared(name)
	require.ErrorIs(t, err, vfs.ErrLocked)
	require.NoError(t, alone.Close())
	one, err := vfs.OS.LockShared(name)
	require.NoError(t, err)
	two, err := vfs.OS.LockShared(name)
	require.NoError(t, err)
	_, err = vfs.OS.Lock(name)
	require.ErrorIs(t, err, vfs.ErrLocked)
	require.NoError(t, one.Close())
	require.NoError(t, two.Close())
	alone, err = vfs.OS.Lock(name)
	require.NoError(t, err)
	require.NoError(t, alone.Close())
}

func TestRoom(t *testing.T) {
	dir := t.TempDir()
	var st syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &st))
	room, err := vfs.OS.Room(dir)
	require.NoError(t, err)
	require.LessOrEqual(t, room, int64(st.Blocks)*int64(st.Bsize))
	require.Positive(t, room)
	_, err = vfs.OS.Room(filepath.Join(dir, "missing"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
