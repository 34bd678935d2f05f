package wal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/vfs/vfstest"
	"kv/store/wal"
	"kv/store/wal/backup"
	"kv/store/wal/tool"
)

// source is what a backup is taken of.
type source interface {
	store.Journal
	Attach(backup.Walker)
	Backup(ctx context.Context, w io.Writer) (version uint64, size int64, err error)
}

// A backup taken while sessions write is the state after a prefix of the writes: no transaction is in it in part.
func TestBackup(t *testing.T) {
	sources := map[string]func() source{
		"log": func() source {
			l, err := wal.Open(wal.Options{FS: vfstest.NewMem(), Dir: "/data", Logger: quiet, RotateBytes: 2000, ReserveBytes: 5000})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, l.Close()) })
			return l
		},
		"memory": func() source { return wal.NewMemory() },
	}
	for name, open := range sources {
		t.Run(name, func(t *testing.T) {
			for seed := range seeds(20, 1000) {
				j := open()
				st, err := store.Open(store.Options{Journal: j})
				require.NoError(t, err)
				j.Attach(st)
				l := newLedger(8)
				var wg sync.WaitGroup
				for id := range 3 {
					wg.Go(func() {
						if err := l.work(st, id, 300, rand.New(rand.NewPCG(uint64(seed), uint64(id)))); err != nil {
							t.Error(err)
						}
					})
				}
				type taken struct {
					data          []byte
					version, size uint64
				}
				backups := make([]taken, 4)
				for i := range backups { // side by side: as many as there may be
					wg.Go(func() {
						var b bytes.Buffer
						version, size, err := j.Backup(context.Background(), &b)
						if err != nil {
							t.Error(err)
						}
						backups[i] = taken{b.Bytes(), version, uint64(size)}
					})
				}
				wg.Wait()
				for _, b := range backups {
					require.EqualValues(t, len(b.data), b.size)
					m := vfstest.NewMem()
					m.WriteFile("/backup", b.data)
					report, err := tool.Restore(m, "/backup", "/data")
					require.NoError(t, err)
					require.Equal(t, b.version, report.Version)
					state, _, err := recovered(m, wal.Options{})
					require.NoError(t, err)
					require.Equal(t, l.at(b.version), state, "the state at version %d", b.version)
				}
				require.NoError(t, st.Close())
			}
		})
	}
}

// makeBackup returns a backup of a few keys.
func makeBackup(t *testing.T) []byte {
	n := mustStart(t, vfstest.NewMem(), wal.Options{}, store.Options{})
	for i := range 20 {
		n.set(t, fmt.Sprint(i), "value")
	}
	var b bytes.Buffer
	_, _, err := n.log.Backup(context.Background(), &b)
	require.NoError(t, err)
	require.NoError(t, n.stop())
	return b.Bytes()
}

// A backup that comes in pieces is restored; a folder that was there and empty stays so where it is not whole, or can't
// be written.
func TestRestoreFrom(t *testing.T) {
	b := makeBackup(t)
	m := vfstest.NewMem()
	report, err := tool.RestoreFrom(m, iotest.OneByteReader(bytes.NewReader(b)), "/data")
	require.NoError(t, err)
	require.EqualValues(t, 20, report.Entries())
	state, _, err := recovered(m, wal.Options{})
	require.NoError(t, err)
	require.Len(t, state, 20)

	broken := errors.New("broken")
	for what, from := range map[string]io.Reader{
		"cut":          bytes.NewReader(b[:len(b)-1]),
		"broken off":   io.MultiReader(bytes.NewReader(b[:len(b)/2]), iotest.ErrReader(broken)),
		"a huge claim": io.MultiReader(bytes.NewReader(b[:36]), bytes.NewReader([]byte{0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0, 0})),
	} {
		for _, there := range []bool{false, true} {
			m := vfstest.NewMem()
			if there {
				require.NoError(t, m.MkdirAll("/data"))
			}
			_, err := tool.RestoreFrom(m, from, "/data")
			require.Error(t, err, what)
			names, err := m.List("/data")
			require.Empty(t, names, what)
			require.Equal(t, there, err == nil, what)
		}
	}
	m = vfstest.NewMem()
	m.SetRoom(100)
	_, err = tool.RestoreFrom(m, bytes.NewReader(b), "/data")
	require.ErrorIs(t, err, syscall.ENOSPC)
	_, err = m.List("/data")
	require.Error(t, err)
}

func TestRestoreRefuses(t *testing.T) {
	b := makeBackup(t)
	restore := func(data []byte, dir string) error {
		m := vfstest.NewMem()
		m.WriteFile("/backup", data)
		m.WriteFile("/used/log-0000000000000001", nil)
		_, err := tool.Restore(m, "/backup", dir)
		if err != nil && dir != "/used" {
			_, err := m.List(dir)
			require.Error(t, err, "a folder was made of a bad backup")
		}
		return err
	}
	require.NoError(t, restore(b, "/data"))
	require.ErrorContains(t, restore(b, "/used"), "holds a store already")
	for i := range len(b) {
		require.ErrorIs(t, restore(b[:i], "/data"), tool.ErrNotWhole, "cut to %d bytes", i)
		bad := bytes.Clone(b)
		bad[i] ^= 0x10
		require.Error(t, restore(bad, "/data"), "byte %d", i)
	}
	require.ErrorContains(t, restore(append(b, 0), "/data"), "not a whole backup")
	require.ErrorIs(t, restore(nil, "/data"), tool.ErrNotWhole)
}

// A reader that is slower than the writers ends its backup, not the server's memory: that is a matter of what was said
// that it may take, small writes with what they take besides.
func TestBackupSlow(t *testing.T) {
	for _, tt := range []struct {
		limit       int64 // 0: the default
		value, fits int   // writes of so many bytes
	}{{0, 1 << 20, 63}, {1 << 20, 100_000, 10}, {1 << 20, 10, 7000}} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			testBackupSlow(t, tt.limit, tt.value, tt.fits, nil)
			testBackupSlow(t, tt.limit, tt.value, 2*tt.fits, backup.ErrSlow)
		})
	}
}

func testBackupSlow(t *testing.T, limit int64, value, writes int, want error) {
	n := mustStart(t, vfstest.NewMem(), wal.Options{Sync: wal.Never, SnapshotBytes: -1}, store.Options{})
	defer func() { require.NoError(t, n.stop()) }()
	for i := range 1000 {
		n.set(t, fmt.Sprint(i), fmt.Sprintf("%01000d", i))
	}
	n.log.LimitBackups(limit)
	r, w := io.Pipe()
	done := make(chan error)
	go func() {
		_, _, err := n.log.Backup(context.Background(), w)
		done <- err
	}()
	_, err := io.ReadFull(r, make([]byte, 10)) // it has begun
	require.NoError(t, err)
	for range writes {
		n.set(t, "key", string(make([]byte, value)))
	}
	var reading sync.WaitGroup
	reading.Go(func() { io.Copy(io.Discard, r) })
	require.ErrorIs(t, <-done, want)
	w.Close()
	reading.Wait()
}

// A snapshot that is cancelled, or whose disk fails, leaves nothing behind, and the log goes on.
func TestSnapshotFails(t *testing.T) {
	mem := vfstest.NewMem()
	inject := &vfstest.Inject{FS: mem}
	n := mustStart(t, inject, wal.Options{SnapshotBytes: -1}, store.Options{})
	n.set(t, "a", "1")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, err := n.log.Snapshot(ctx)
	require.ErrorIs(t, err, context.Canceled)
	broken := errors.New("broken")
	inject.Before = func(_ int64, op, name string) error {
		if bytes.Contains([]byte(name), []byte("snapshot")) && op == "write" {
			return broken
		}
		return nil
	}
	_, _, err = n.log.Snapshot(context.Background())
	require.ErrorIs(t, err, broken)
	require.NoError(t, n.log.Failed())
	names, err := mem.List("/data")
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprint(names), "snapshot")
	inject.Before = nil
	_, _, err = n.log.Snapshot(context.Background())
	require.NoError(t, err)
	require.NoError(t, n.stop())
	state, _, err := recovered(mem, wal.Options{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "1"}, state)
}
