package wal_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/vfs/vfstest"
	"kv/store/wal"
)

// While the disk is full writes are refused, change nothing, and all that was there is read; with room they go on by
// themselves, again and again, and nothing that was acknowledged is lost.
func TestDiskFull(t *testing.T) {
	for _, policy := range []wal.Policy{wal.Always, wal.Interval, wal.Never} {
		for _, size := range []int{10, 300, 3000} {
			t.Run(fmt.Sprintf("%v, %d bytes", policy, size), func(t *testing.T) {
				mem := vfstest.NewMem()
				o := wal.Options{Sync: policy, RotateBytes: 70_000, SnapshotBytes: -1, ReserveBytes: 50_000, Retry: time.Microsecond}
				n := mustStart(t, mem, o, store.Options{})
				want := map[string]string{}
				rng := rand.New(rand.NewPCG(uint64(size), 0))
				for round := range 5 {
					mem.SetRoom(rng.Int64N(150_000))
					for i := 0; ; i++ {
						key := fmt.Sprint(rng.IntN(10))
						value := fmt.Sprintf("%d.%0*d", round, size, i)
						_, err := n.s.Set([]byte(key), []byte(value), store.SetOptions{})
						if err == nil {
							require.NoError(t, n.s.Flush(), "it was taken, so there was room for it")
							want[key] = value
							continue
						}
						require.ErrorIs(t, err, store.ErrReadOnly)
						require.ErrorIs(t, err, syscall.ENOSPC)
						require.NoError(t, n.log.Sync(), "what was taken can be made durable")
						require.NoError(t, n.log.Sync(), "behind a rotation, if that was due")
						if n.log.Refusing() != nil {
							break // the rotation has made no room
						}
					}
					require.ErrorIs(t, n.log.Refusing(), syscall.ENOSPC)
					require.NoError(t, n.log.Failed())
					_, err := n.s.Set([]byte("small"), nil, store.SetOptions{})
					require.ErrorIs(t, err, syscall.ENOSPC, "a small one too, though there may be room for that")
					require.ErrorIs(t, n.log.Admit(0), syscall.ENOSPC)
					require.True(t, n.log.Stats().Refusing)
					for key, value := range want {
						require.Equal(t, value, string(n.s.Get([]byte(key)).Value()))
						require.NoError(t, n.s.Flush())
					}
					require.NoError(t, n.log.Sync(), "what was taken can be made durable")
					state, _, err := recovered(mem.Crash(0, nil), o)
					require.NoError(t, err)
					require.Equal(t, want, state)

					mem.SetRoom(-1)
					require.Eventually(t, func() bool { return n.log.Refusing() == nil }, time.Minute, time.Microsecond)
					n.set(t, "between", fmt.Sprint(round))
					require.NoError(t, n.s.Flush())
					want["between"] = fmt.Sprint(round)
				}
				require.NoError(t, n.stop())
				state, _, err := recovered(mem.Crash(0, nil), o)
				require.NoError(t, err)
				require.Equal(t, want, state)
			})
		}
	}
}

// The log does not fill up a disk that its data have room on: a snapshot is taken before there is none for it.
func TestSmallDisk(t *testing.T) {
	for _, policy := range []wal.Policy{wal.Always, wal.Interval, wal.Never} {
		t.Run(policy.String(), func(t *testing.T) {
			const disk = 24 << 20
			mem := vfstest.NewMem()
			mem.SetRoom(disk)
			o := wal.Options{Sync: policy, ReserveBytes: 256 << 10, Retry: time.Millisecond}
			n := mustStart(t, mem, o, store.Options{})
			n.log.Attach(n.st)
			value := bytes.Repeat([]byte("v"), 32<<10)
			for i := range 4 * disk / len(value) {
				set := func() bool {
					_, err := n.s.Set(fmt.Append(nil, "k", i%10), value, store.SetOptions{})
					return err == nil
				}
				if !set() {
					require.Eventually(t, set, 20*time.Second, time.Millisecond, "write %d: the log has filled up the disk", i)
				}
			}
			require.NoError(t, n.stop())
			state, _, err := recovered(mem, o)
			require.NoError(t, err)
			require.Len(t, state, 10)
		})
	}
}

// A write larger than what the log has room for in advance is refused where the disk has no room for it, and changes
// nothing; smaller ones go on.
func TestLargeWriteWithoutRoom(t *testing.T) {
	for _, policy := range []wal.Policy{wal.Always, wal.Interval, wal.Never} {
		t.Run(policy.String(), func(t *testing.T) {
			mem := vfstest.NewMem()
			o := wal.Options{Sync: policy, SnapshotBytes: -1, ReserveBytes: 100 << 10, Retry: time.Microsecond}
			n := mustStart(t, mem, o, store.Options{MaxMemory: 1 << 30})
			n.set(t, "k", "before")
			n.set(t, "other", "value")
			require.NoError(t, n.log.Sync())
			large := strings.Repeat("x", 5<<20)
			writes := map[string]func() error{
				"Set": func() error { _, err := n.s.Set([]byte("k"), []byte(large), store.SetOptions{}); return err },
				"MSet": func() error {
					_, err := n.s.MSet([]store.Pair{{Key: []byte("other")}, {Key: []byte("k"), Value: []byte(large)}})
					return err
				},
				"Txn": func() error {
					_, _, err := n.s.Txn(nil, nil, []store.Op{{Kind: store.OpDel, Key: []byte("other")}, {Kind: store.OpSet, Key: []byte("k"), Value: []byte(large)}})
					return err
				},
				"Update": func() error {
					_, err := n.s.Update([][]byte{[]byte("k")}, func(u *store.Update) error { u.Set([]byte("k"), []byte(large), 0); return nil })
					return err
				},
			}
			for name, write := range writes {
				mem.SetRoom(4 << 20)
				before := n.st.Stats()
				size := len(mem.Snapshot()["/data/log-0000000000000001"])
				err := write()
				require.ErrorIs(t, err, syscall.ENOSPC, name)
				require.ErrorIs(t, err, store.ErrReadOnly, name)
				require.ErrorContains(t, err, "no room on the disk for a write of", name)
				require.NoError(t, n.log.Refusing(), "%s: others are not refused", name)
				after := n.st.Stats()
				before.WaitingBytes, after.WaitingBytes = 0, 0 // what was undone goes a little later
				require.Equal(t, before, after, name)
				require.Equal(t, "before", string(n.s.Get([]byte("k")).Value()), name)
				require.Equal(t, "value", string(n.s.Get([]byte("other")).Value()), name)
				n.set(t, "small", name)
				require.NoError(t, n.s.Flush(), name)
				require.NoError(t, n.log.Sync(), name)
				require.Less(t, len(mem.Snapshot()["/data/log-0000000000000001"]), size+1<<20, "%s: what was granted of the room was given back", name)

				mem.SetRoom(-1)
				require.NoError(t, write(), name)
				require.NoError(t, n.log.Sync(), name)
				n.set(t, "k", "before")
				n.set(t, "other", "value")
				require.NoError(t, n.log.Sync(), name)
			}
			require.NoError(t, n.stop())
			state, _, err := recovered(mem.Crash(0, nil), o)
			require.NoError(t, err)
			require.Equal(t, "before", state["k"])
		})
	}
}

// No write is taken that the disk is not known to have room for, whatever others take at the same time: large and small
// writes side by side, while files change and the room comes and goes.
func TestTakenWritesHaveRoom(t *testing.T) {
	for round := range seeds(20, 1000) {
		mem := vfstest.NewMem()
		policy := wal.Policy(round % 3)
		o := wal.Options{Sync: policy, SnapshotBytes: -1, RotateBytes: 60_000, ReserveBytes: 20_000, QueueBytes: 100_000, Retry: time.Microsecond}
		n := mustStart(t, mem, o, store.Options{})
		var wg sync.WaitGroup
		var taken atomic.Int64
		for w := range 4 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(round), uint64(w)))
				s := n.st.Session()
				defer s.Close()
				for range 30 {
					value := make([]byte, 10<<rng.IntN(13))
					_, err := s.Set(fmt.Append(nil, w), value, store.SetOptions{})
					if err == nil {
						taken.Add(1)
						assert.NoError(t, s.Flush(), "it was taken, so there is room for it")
						continue
					}
					assert.ErrorIs(t, err, syscall.ENOSPC)
					if rng.IntN(4) == 0 {
						mem.SetRoom(rng.Int64N(200_000))
					}
				}
			})
		}
		mem.SetRoom(int64(round) * 10_000)
		wg.Wait()
		require.NoError(t, n.log.Sync(), "round %d", round)
		mem.SetRoom(-1)
		require.NoError(t, n.stop())
	}
}

// Where the file system can't make room in advance, a write that finds none is found out too late to refuse it. It waits in
// memory: who wrote it, and under policy Always who reads it, is told so; with room it is durable, in its place.
func TestDiskFullWithoutReserve(t *testing.T) {
	mem := vfstest.NewMem()
	o := wal.Options{Sync: wal.Always, SnapshotBytes: -1, ReserveBytes: -1, Retry: time.Microsecond}
	n := mustStart(t, mem, o, store.Options{})
	n.set(t, "k", "before")
	n.set(t, "other", "value")
	require.NoError(t, n.s.Flush())
	mem.SetRoom(1000)
	large := strings.Repeat("x", 5<<20)
	n.set(t, "k", large)
	err := n.s.Flush()
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorIs(t, err, store.ErrReadOnly)
	require.ErrorContains(t, err, "this write takes effect once there is")
	require.NoError(t, n.log.Failed())
	_, err = n.s.Set([]byte("k"), nil, store.SetOptions{})
	require.ErrorIs(t, err, syscall.ENOSPC)
	n.s.Get([]byte("other"))
	require.NoError(t, n.s.Flush())
	n.s.Get([]byte("k"))
	require.ErrorIs(t, n.s.Flush(), syscall.ENOSPC)
	require.ErrorIs(t, n.log.Sync(), syscall.ENOSPC)
	_, _, err = n.log.Snapshot(context.Background())
	require.ErrorIs(t, err, syscall.ENOSPC)
	state, _, err := recovered(mem.Crash(50, rand.New(rand.NewPCG(1, 1))), o)
	require.NoError(t, err)
	require.Equal(t, "before", state["k"])

	mem.SetRoom(-1)
	require.Eventually(t, func() bool { return n.log.Refusing() == nil }, time.Minute, time.Microsecond)
	require.Equal(t, large, string(n.s.Get([]byte("k")).Value()))
	require.NoError(t, n.s.Flush())
	n.set(t, "other", "after")
	require.NoError(t, n.s.Flush())
	state, _, err = recovered(mem.Crash(0, nil), o)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"k": large, "other": "after"}, state)
	require.NoError(t, n.stop())
}

// A log that ends while a write still waits for room says so.
func TestCloseWithoutRoom(t *testing.T) {
	mem := vfstest.NewMem()
	n := mustStart(t, mem, wal.Options{Sync: wal.Interval, ReserveBytes: -1}, store.Options{})
	n.set(t, "a", "1")
	require.NoError(t, n.log.Sync())
	mem.SetRoom(10)
	n.set(t, "b", "2")
	require.NoError(t, n.s.Flush(), "of policy Interval")
	err := n.stop()
	require.ErrorIs(t, err, syscall.ENOSPC)
	state, _, err := recovered(mem, wal.Options{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "1"}, state)
}

// A start on a full disk shows all that is there, and takes writes once there is room: for the copy of a torn tail, too.
func TestStartOnFullDisk(t *testing.T) {
	for _, torn := range []bool{false, true} {
		for room := int64(0); room < 400; room += 9 {
			what := fmt.Sprintf("torn %t, room for %d", torn, room)
			o := wal.Options{Sync: wal.Always, SnapshotBytes: -1, ReserveBytes: 1000, Retry: time.Microsecond}
			f := makeFolder(t, 8, o, false, 30)
			data := bytes.TrimRight(f.files[f.last()], "\x00")
			if torn {
				data = data[:len(data)-5]
			}
			mem := f.with(f.last(), data)
			mem.WriteFile("/data/LOCK", nil)
			mem.SetRoom(room)
			n := mustStart(t, mem, o, store.Options{})
			got := map[string]string{}
			require.NoError(t, n.st.Walk(func(e *store.Entry) error {
				got[string(e.Key())] = string(e.Value())
				return nil
			}))
			if !torn {
				require.Equal(t, f.at(f.newest()), got, what)
			}
			for key, value := range got {
				require.Equal(t, value, string(n.s.Get([]byte(key)).Value()), what)
				require.NoError(t, n.s.Flush(), what)
			}
			if n.log.Refusing() != nil {
				_, err := n.s.Set([]byte("new"), nil, store.SetOptions{})
				require.ErrorIs(t, err, syscall.ENOSPC, what)
				for name, b := range mem.Snapshot() {
					require.False(t, strings.Contains(name, ".torn-") && len(b) == 0, "%s: %s is empty", what, name)
				}
			}
			// The next start is no worse off, whether this one ends in order or not.
			again, _, err := recovered(mem.Crash(100, nil), o)
			require.NoError(t, err, what)
			require.Equal(t, got, again, what)

			mem.SetRoom(-1)
			require.Eventually(t, func() bool { // as soon as the log has looked again
				_, err := n.s.Set([]byte("new"), []byte("one"), store.SetOptions{})
				return err == nil
			}, time.Minute, time.Microsecond, what)
			require.NoError(t, n.s.Flush(), what)
			require.Equal(t, torn, n.log.Stats().TornBytes > 0, what)
			require.NoError(t, n.stop(), what)
			got["new"] = "one"
			state, _, err := recovered(mem.Crash(0, nil), o)
			require.NoError(t, err, what)
			require.Equal(t, got, state, what)
		}
	}
}
