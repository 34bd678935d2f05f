package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/vfs/vfstest"
	"kv/store/wal"
	"kv/store/wal/record"
	"kv/store/wal/tool"
)

// A backup of any node, taken while transactions are written, is the state at one entry of the log: no transaction is
// in it in part, earlier versions are, and a store that is alone is restored from it.
func TestBackupOfAnyNode(t *testing.T) {
	all := openStores(t, 3, store.Options{History: 3})
	require.NoError(t, storeLeader(t, all).set("expires", "soon", store.SetOptions{TTL: 1 << 40}))
	try := func(n int) error {
		c := storeLeader(t, all).store.Session()
		defer c.Close()
		var pairs []store.Pair
		for k := range 50 {
			pairs = append(pairs, store.Pair{Key: fmt.Append(nil, "key", k), Value: fmt.Append(nil, n)})
		}
		if _, err := c.MSet(pairs); err != nil {
			return err
		}
		return c.Flush()
	}
	write := func(n int) {
		for err := try(n); err != nil; err = try(n) { // another may lead by now
			if !errors.Is(err, store.ErrReadOnly) {
				t.Error(err)
				return
			}
		}
	}
	for i := range 4 {
		write(i)
	}
	done := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 4; ; i++ {
			select {
			case <-done:
				return
			default:
				write(i)
			}
		}
	})
	defer writer.Wait()
	defer close(done)
	for range 3 {
		for _, s := range all {
			require.Eventually(t, func() bool { return s.get("key0") != "absent" }, 30*time.Second, time.Millisecond)
			var b bytes.Buffer
			version, size, err := s.journal.Backup(t.Context(), &b)
			require.NoError(t, err)
			require.EqualValues(t, b.Len(), size)
			checkBackup(t, b.Bytes(), version)
		}
	}
}

func checkBackup(t *testing.T, b []byte, version uint64) {
	in, _, err := record.OpenSnapshot(bytes.NewReader(b))
	require.NoError(t, err)
	for err == nil {
		_, err = in.Next()
	}
	at := in.Trailer()
	require.Equal(t, version, at.Version)
	require.Greater(t, at.Index, uint64(1))
	require.NotZero(t, at.Term)

	fs := vfstest.NewMem()
	_, err = tool.RestoreFrom(fs, bytes.NewReader(b), "/alone")
	require.NoError(t, err)
	log, err := wal.Open(wal.Options{FS: fs, Dir: "/alone"})
	require.NoError(t, err)
	st, err := store.Open(store.Options{Journal: log, History: 3})
	require.NoError(t, err)
	c := st.Session()
	first := c.Get([]byte("key0"))
	require.LessOrEqual(t, first.Version(), version, "the time may have gone on since")
	for k := range 50 {
		revisions := c.History(nil, fmt.Append(nil, "key", k), 0)
		require.Len(t, revisions, 4)
		for _, r := range revisions {
			require.LessOrEqual(t, r.Entry.Version(), version)
		}
		require.Equal(t, first.Value(), revisions[0].Entry.Value(), "a transaction is there in part")
		require.Equal(t, first.Version(), revisions[0].Entry.Version())
	}
	require.NotZero(t, c.Get([]byte("expires")).Expiry())
	c.Close()
	require.NoError(t, st.Close())
	require.NoError(t, log.Close())
}

// A new cluster is made of the backup of a node, or of a store that is alone, and begins with all that it has.
func TestRestoreIntoANewCluster(t *testing.T) {
	all := openStores(t, 1, store.Options{History: 3})
	node := storeLeader(t, all)
	log, err := wal.Open(wal.Options{FS: vfstest.NewMem(), Dir: "/alone"})
	require.NoError(t, err)
	st, err := store.Open(store.Options{Journal: log, History: 3})
	require.NoError(t, err)
	log.Attach(st)
	defer log.Close()
	defer st.Close()
	for name, from := range map[string]struct {
		store  *store.Store
		backup func(context.Context, io.Writer) (uint64, int64, error)
	}{"a node": {node.store, node.journal.Backup}, "alone": {st, log.Backup}} {
		t.Run(name, func(t *testing.T) {
			n := &storeNode{t: t, store: from.store}
			for i := range 9 {
				require.NoError(t, n.set(fmt.Sprint("key", i%4), fmt.Sprint(i), store.SetOptions{TTL: 1 << 40}))
			}
			want := n.all()
			require.Len(t, want["key0"], 3)
			var b bytes.Buffer
			version, _, err := from.backup(t.Context(), &b)
			require.NoError(t, err)

			fs := newFS(t)
			report, self, err := Restore(fs, bytes.NewReader(b.Bytes()), "/log")
			require.NoError(t, err)
			require.Equal(t, version, report.Version)
			standing, err := Look(fs, "/log")
			require.NoError(t, err)
			require.Equal(t, self, Self{Cluster: standing.Cluster, Node: standing.Node})
			restored := startAlone(t, fs)
			require.Equal(t, want, restored.all())
			require.NoError(t, restored.set("key0", "new", store.SetOptions{}))
			require.Equal(t, restored.all()["key0"][1:], want["key0"])
			require.Greater(t, restored.all()["key0"][0], want["key0"][0], "its versions go on")
			restored.stop()
			restored = startAlone(t, fs)
			require.Equal(t, "new", restored.get("key0"))

			_, _, err = Restore(fs, bytes.NewReader(b.Bytes()), "/log")
			require.ErrorContains(t, err, "holds a store already")
			fs = vfstest.NewMem()
			_, _, err = Restore(fs, bytes.NewReader(b.Bytes()[:b.Len()-1]), "/log")
			require.ErrorIs(t, err, tool.ErrNotWhole)
			_, err = fs.List("/log")
			require.ErrorIs(t, err, iofs.ErrNotExist)
		})
	}
}

// A crash, or a call that fails, leaves no folder that looks like an empty or a smaller store.
func TestRestoreCrashes(t *testing.T) {
	node := storeLeader(t, openStores(t, 1, store.Options{}))
	require.NoError(t, node.set("key0", "value", store.SetOptions{}))
	want := node.all()
	var b bytes.Buffer
	_, _, err := node.journal.Backup(t.Context(), &b)
	require.NoError(t, err)
	for call := int64(1); ; call++ {
		for _, percent := range []int{0, 100} {
			fs := newFS(t)
			_, _, err := Restore(&vfstest.Inject{FS: fs, Before: func(n int64, _, _ string) error {
				if n >= call {
					return syscall.EIO
				}
				return nil
			}}, bytes.NewReader(b.Bytes()), "/log")
			fs = fs.Crash(percent, nil)
			standing, looked := Look(fs, "/log")
			if looked != nil {
				require.Error(t, err)
				names, err := fs.List("/log")
				require.NoError(t, err)
				for _, name := range names {
					require.False(t, strings.HasPrefix(name, "log-") && !strings.HasSuffix(name, ".tmp"),
						"a log without a snapshot: %v", looked)
				}
				continue
			}
			require.Positive(t, standing.Entries)
			s := startAlone(t, fs)
			require.Equal(t, want, s.all())
			s.stop()
			if err == nil && percent == 100 {
				return
			}
		}
	}
}
