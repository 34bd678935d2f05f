package wal_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/vfs"
	"kv/store/wal"
)

// openOn opens a store whose log is in dir, on the machine's own disk.
func openOn(b *testing.B, dir string, o wal.Options) (*wal.Log, *store.Store) {
	o.Dir, o.FS, o.Logger = dir, vfs.OS, quiet
	log, err := wal.Open(o)
	require.NoError(b, err)
	st, err := store.Open(store.Options{Journal: log})
	require.NoError(b, err)
	log.Attach(st)
	return log, st
}

// BenchmarkSet is a write of a 16-byte key with a 32-byte value, with so many sessions side by side, each waiting for
// its own to be as safe as the policy says.
func BenchmarkSet(b *testing.B) {
	for _, policy := range []string{"memory", "never", "interval", "always"} {
		for _, sessions := range []int{1, 50, 500} {
			b.Run(fmt.Sprintf("%s/sessions=%d", policy, sessions), func(b *testing.B) {
				var st *store.Store
				var log *wal.Log
				if policy == "memory" {
					var err error
					st, err = store.Open(store.Options{})
					require.NoError(b, err)
				} else {
					p, err := wal.ParsePolicy(policy)
					require.NoError(b, err)
					log, st = openOn(b, b.TempDir(), wal.Options{Sync: p, SnapshotBytes: -1})
				}
				var next atomic.Int64
				var wg sync.WaitGroup
				for range sessions {
					wg.Go(func() {
						s := st.Session()
						defer s.Close()
						value := make([]byte, 32)
						for {
							i := next.Add(1)
							if i > int64(b.N) {
								return
							}
							if _, err := s.Set(fmt.Appendf(nil, "%016d", i%100_000), value, store.SetOptions{}); err != nil {
								b.Error(err)
							}
							if err := s.Flush(); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				if log != nil {
					b.ReportMetric(float64(log.Stats().Syncs)/float64(b.N), "syncs/op")
				}
				b.StopTimer()
				st.Close()
				if log != nil {
					require.NoError(b, log.Close())
				}
			})
		}
	}
}

// BenchmarkRecover is the time for a key, of a million, from a snapshot and from a log.
func BenchmarkRecover(b *testing.B) {
	const keys = 1_000_000
	for _, from := range []string{"log", "snapshot"} {
		b.Run(from, func(b *testing.B) {
			dir := b.TempDir()
			log, st := openOn(b, dir, wal.Options{Sync: wal.Never, SnapshotBytes: -1})
			s := st.Session()
			value := make([]byte, 32)
			for i := range keys {
				_, err := s.Set(fmt.Appendf(nil, "%016d", i), value, store.SetOptions{})
				require.NoError(b, err)
			}
			if from == "snapshot" {
				_, _, err := log.Snapshot(context.Background())
				require.NoError(b, err)
			}
			require.NoError(b, st.Close())
			require.NoError(b, log.Close())
			for b.Loop() {
				log, st := openOn(b, dir, wal.Options{SnapshotBytes: -1})
				b.StopTimer()
				s := st.Session()
				require.EqualValues(b, keys, s.Stats().Keys)
				require.NoError(b, st.Close())
				require.NoError(b, log.Close())
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/keys, "ns/key")
		})
	}
}
