package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/store"
)

// A store that lacks what the others have given up of the log receives their state, and goes on with it: its sessions
// stay, a scan that was under way ends with each key that was there all the while once, what is counted is, and no read
// is older than what had been answered.
func TestAStoreThatLacksTheLogTakesTheStateWhileItIsRead(t *testing.T) {
	all := openStores(t, 3, store.Options{History: 3})
	leader := storeLeader(t, all)
	away := all[0]
	if away == leader {
		away = all[1]
	}
	for i := range 50 {
		require.NoError(t, leader.set(fmt.Sprint("key", i), "old", store.SetOptions{}))
		require.NoError(t, leader.set(fmt.Sprint("stays", i), "old", store.SetOptions{TTL: uint64(1000 * (i % 2) * 3600)}))
	}
	require.Equal(t, "old", away.get("key49"))
	c := away.store.Session()
	defer c.Close()
	require.NoError(t, c.Begin(store.ReadMode{}))
	page, err := c.Scan(nil, store.ScanOptions{Limit: 10})
	require.NoError(t, err)
	require.NoError(t, c.Flush())
	scanned := map[string]int{}
	gets := away.store.Stats().GetOps
	backup, err := away.journal.Subscribe(1 << 20)
	require.NoError(t, err)
	defer backup.Close()

	lags(t, all, away)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	var answered, bounded atomic.Int64
	for n := range 4 {
		readers.Go(func() {
			c := away.store.Session()
			defer c.Close()
			for last := 0; ; {
				select {
				case <-stop:
					return
				default:
				}
				mode := store.ReadMode{}
				if n == 0 {
					mode.Bound = 20 * time.Millisecond
				}
				if c.Begin(mode) != nil {
					continue // nobody could be asked
				}
				value, _ := c.AppendValue(nil, []byte("key49"))
				if c.Flush() != nil {
					continue // it is void
				}
				is, err := strconv.Atoi(string(value))
				switch {
				case n == 0:
					bounded.Add(1)
				case err != nil || is < 199:
					panic(fmt.Sprintf("key49 was answered to be 199, and is read as %q", value))
				}
				if is < last {
					panic("what is read goes back in time")
				}
				last = is
				answered.Add(1)
			}
		})
	}
	away.net.cutOff(0)
	require.Eventually(t, func() bool { return away.journal.installed.Load() > 0 && answered.Load() > 1000 },
		60*time.Second, time.Millisecond)
	for {
		for _, e := range page.Entries {
			scanned[string(e.Key())]++
		}
		if page.Next == nil {
			break
		}
		require.Eventually(t, func() bool { return c.Begin(store.ReadMode{}) == nil }, 30*time.Second, time.Millisecond)
		page, err = c.Scan(page.Next, store.ScanOptions{Limit: 10})
		require.NoError(t, err)
		require.NoError(t, c.Flush())
	}
	close(stop)
	readers.Wait()
	_, _, err = away.journal.Last(backup)
	require.ErrorIs(t, err, errInstalled, "a backup that has begun before the other state came is of two")
	for i := range 50 {
		require.Equal(t, 1, scanned[fmt.Sprint("key", i)])
		require.Equal(t, 1, scanned[fmt.Sprint("stays", i)])
	}
	require.Len(t, scanned, 100)
	require.NotZero(t, bounded.Load())
	require.Greater(t, away.store.Stats().GetOps, gets+1000, "what was counted before counts")
	require.Equal(t, leader.store.Stats().Keys, away.store.Stats().Keys)
	require.Equal(t, leader.store.Stats().ValueBytes, away.store.Stats().ValueBytes)
	require.Equal(t, leader.store.Stats().History, away.store.Stats().History)
	alike(t, all)
	require.NoError(t, storeLeader(t, all).set("a", "newest", store.SetOptions{}))
	require.Equal(t, "newest", away.get("a"))

	away.stop() // what it took is on its disk
	away.openJournal()
	away.start(store.Options{History: 3})
	require.Equal(t, "newest", away.get("a"))
	alike(t, all)
}

// A power cut at any call of the file system, while a state is received and put in the place of what was there, leaves
// a node that starts again and becomes as the others are.
func TestAPowerCutWhileAStateIsTaken(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 8 {
		all := openStores(t, 3, store.Options{})
		leader := storeLeader(t, all)
		away := all[0]
		if away == leader {
			away = all[1]
		}
		require.NoError(t, leader.set("a", fmt.Sprint("before", round), store.SetOptions{}))
		require.Equal(t, fmt.Sprint("before", round), away.get("a"))
		lags(t, all, away)
		left := atomic.Int64{}
		left.Store(int64(1 + round*3))
		away.before.Store(new(func(string) error {
			if left.Add(-1) <= 0 {
				return errors.New("the power is gone")
			}
			return nil
		}))
		away.net.cutOff(0)
		require.Eventually(t, func() bool {
			select {
			case <-away.node.Done():
				return true
			default:
				return left.Load() <= 0 || away.journal.installed.Load() > 0 && away.node.Status().Whole &&
					away.node.Status().Published >= leader.node.Status().Published
			}
		}, 60*time.Second, time.Millisecond)
		crashed := away.fs.Crash([]int{0, 50, 100}[round%3], rng)
		away.crash()
		away.fs = crashed
		away.before.Store(nil)
		away.openJournal()
		away.start(store.Options{})
		alike(t, all)
		for _, s := range all {
			s.stop()
		}
	}
}
