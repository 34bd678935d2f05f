package cluster

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/vfs/vfstest"
	"kv/store/wal"
	"kv/store/wal/record"
	"kv/store/wal/tool"
)

// A backup of any node, taken while transactions are written, is the state at one entry of the log: no transaction is in it in part, earlier versions are,
// and a store that is alone is restored from it.
func TestBackupOfAnyNode(t *testing.T) {
	all := openStores(t, 3, store.Options{History: 3})
	leader := storeLeader(t, all)
	require.NoError(t, leader.set("expires", "soon", store.SetOptions{TTL: 1 << 40}))
	write := func(n int) {
		c := leader.store.Session()
		defer c.Close()
		var pairs []store.Pair
		for k := range 50 {
			pairs = append(pairs, store.Pair{Key: fmt.Append(nil, "key", k), Value: fmt.Append(nil, n)})
		}
		_, err := c.MSet(pairs)
		require.NoError(t, err)
		require.NoError(t, c.Flush())
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
