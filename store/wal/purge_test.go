package wal_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/vfs/vfstest"
	"kv/store/wal"
	"kv/store/wal/tool"
)

// found lists the files that have this text in them.
func found(fs *vfstest.Mem, text string) (files []string) {
	for name, data := range fs.Snapshot() {
		if bytes.Contains(data, []byte(text)) {
			files = append(files, name)
		}
	}
	return files
}

// What was purged does not come back from the log, however often it is read, and with how much history; and once a
// snapshot was made after it, it is in no file any more.
func TestPurgeReachesTheDisk(t *testing.T) {
	for _, history := range []int{0, 3} {
		for _, size := range []int{0, 20_000} {
			t.Run(fmt.Sprint(history, size), func(t *testing.T) {
				fs := vfstest.NewMem()
				so := store.Options{History: history}
				n := mustStart(t, fs, wal.Options{}, so)
				secret := "secret" + string(make([]byte, size))
				for _, key := range []string{"key", "gone", "other"} {
					n.set(t, key, secret+key)
				}
				_, _, err := n.log.Snapshot(context.Background())
				require.NoError(t, err)
				n.set(t, "key", "now")
				n.set(t, "other", secret+"again")
				_, _, err = n.s.Del([][]byte{[]byte("gone")})
				require.NoError(t, err)
				erased, version, err := n.s.Purge([][]byte{[]byte("key"), []byte("gone")})
				require.NoError(t, err)
				require.Equal(t, min(history, 1)*3, erased)
				require.NotZero(t, version)
				require.NoError(t, n.s.Flush())
				require.NotEmpty(t, found(fs, secret+"key"), "no snapshot was made yet")

				past := func(key string) (values []string) {
					for _, r := range n.s.History(nil, []byte(key), 0) {
						values = append(values, string(r.Entry.Value()))
					}
					return values
				}
				restart := func(history int) {
					require.NoError(t, n.stop())
					fs = fs.Crash(0, rand.New(rand.NewPCG(0, 0)))
					n = mustStart(t, fs, wal.Options{}, store.Options{History: history})
				}
				for _, h := range []int{history, 0, 5} {
					restart(h)
					require.Equal(t, []string{"now"}, past("key"))
					require.Empty(t, past("gone"))
				}
				require.Len(t, past("other"), 2, "what was not purged")
				require.NoError(t, n.s.Flush())

				_, _, err = n.log.Snapshot(context.Background())
				require.NoError(t, err)
				require.Empty(t, found(fs, secret+"key"))
				require.Empty(t, found(fs, secret+"gone"))
				require.NotEmpty(t, found(fs, secret+"other"))
				restart(history)
				require.Equal(t, []string{"now"}, past("key"))
				require.NoError(t, n.stop())
			})
		}
	}
}

// A purge while a backup is taken is in the backup.
func TestPurgeBesideABackup(t *testing.T) {
	m := wal.NewMemory()
	st, err := store.Open(store.Options{History: 3, Journal: m})
	require.NoError(t, err)
	defer st.Close()
	s := st.Session()
	for _, v := range []string{"old", "new"} {
		_, err := s.Set([]byte("key"), []byte(v), store.SetOptions{})
		require.NoError(t, err)
	}
	m.Attach(during{st, func() {
		erased, _, err := s.Purge([][]byte{[]byte("key")})
		require.NoError(t, err)
		require.Equal(t, 1, erased)
	}})
	var b bytes.Buffer
	_, _, err = m.Backup(context.Background(), &b)
	require.NoError(t, err)

	fs := vfstest.NewMem()
	fs.WriteFile("/backup", b.Bytes())
	_, err = tool.Restore(fs, "/backup", "/data")
	require.NoError(t, err)
	n := mustStart(t, fs, wal.Options{}, store.Options{History: 3})
	require.Len(t, n.s.History(nil, []byte("key"), 0), 1)
	require.NoError(t, n.stop())
}

// during is a walk with a write behind it.
type during struct {
	*store.Store
	then func()
}

func (d during) Walk(f func(*store.Entry) error) error {
	err := d.Store.Walk(f)
	d.then()
	return err
}
