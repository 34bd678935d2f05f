package clienttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// startCluster starts three servers that are one store, each with what start takes besides.
func startCluster(t *testing.T) (all []*server) {
	var peers []string
	for len(peers) < 6 {
		// Below the ports that a system gives away by itself, so that nobody else has it meanwhile.
		at := fmt.Sprint("127.0.0.1:", 20_000+rand.IntN(10_000))
		if l, err := net.Listen("tcp", at); err == nil && !slices.Contains(peers, at) {
			require.NoError(t, l.Close())
			peers = append(peers, at)
		}
	}
	peers, addresses := peers[:3], peers[3:]
	for i, peer := range peers {
		s := &server{t: t, addr: addresses[i], dir: t.TempDir(),
			args: []string{"--peer-listen", peer, "--peers", strings.Join(peers, ",")}}
		s.start()
		t.Cleanup(s.stop)
		all = append(all, s)
	}
	return all
}

// TestGoRedisWithoutALeader: while two of three servers stand still, a client of the third goes on trying by itself,
// for reads and writes, and is answered when they go on.
func TestGoRedisWithoutALeader(t *testing.T) {
	all := startCluster(t)
	ctx := context.Background()
	var clients []*redis.Client
	for _, s := range all {
		c := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: 100, MaxRetryBackoff: 100 * time.Millisecond,
			ReadTimeout: 20 * time.Second, MaxIdleConns: 1})
		defer c.Close()
		clients = append(clients, c)
	}
	var leads int
	require.Eventually(t, func() bool {
		for i, c := range clients {
			if role, err := c.Do(ctx, "ROLE").Slice(); err == nil && role[0] == "master" && c.Set(ctx, "key", "value", 0).Err() == nil {
				leads = i
				return true
			}
		}
		return false
	}, time.Minute, 50*time.Millisecond)

	plain := redis.NewClient(&redis.Options{Addr: all[leads].addr, MaxRetries: -1, ReadTimeout: 20 * time.Second})
	defer plain.Close()
	var others []*server
	for i, s := range all {
		if i != leads {
			others = append(others, s)
			require.NoError(t, s.cmd.Process.Signal(syscall.SIGSTOP))
		}
	}
	// Who led steps down, and knows of nobody then: what it can't do is answered as what may be tried again.
	require.Eventually(t, func() bool {
		err := plain.Set(ctx, "other", "value", 0).Err()
		return err != nil && strings.HasPrefix(err.Error(), "CLUSTERDOWN ")
	}, time.Minute, 10*time.Millisecond)
	require.ErrorContains(t, plain.Get(ctx, "key").Err(), "CLUSTERDOWN ")

	answers := make(chan error, 2)
	go func() {
		value, err := clients[leads].Get(ctx, "key").Result()
		if err == nil && value != "value" {
			err = fmt.Errorf("the value is %q", value)
		}
		answers <- err
	}()
	go func() { answers <- clients[leads].Get(ctx, "key").Err() }()
	select {
	case err := <-answers:
		require.Fail(t, "an answer without a majority", "%v", err)
	case <-time.After(time.Second):
	}
	for _, s := range others {
		require.NoError(t, s.cmd.Process.Signal(syscall.SIGCONT))
	}
	require.NoError(t, <-answers)
	require.NoError(t, <-answers)
}
