package clienttest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// manyKeys is how many a scan goes through.
const manyKeys = 100_000

// binary is a value that a text protocol might trip over.
const binary = "\x00\xff\r\n$5\r\n*1\r\n-ERR\r\n"

func TestGoRedis(t *testing.T) {
	for _, version := range []int{2, 3} {
		t.Run(fmt.Sprint("RESP", version), func(t *testing.T) {
			s := start(t)
			ctx := context.Background()
			c := redis.NewClient(&redis.Options{Addr: s.addr, Protocol: version, ClientName: "story", MaxRetries: 20})
			defer c.Close()

			require.NoError(t, c.Ping(ctx).Err())
			name, err := c.ClientGetName(ctx).Result()
			require.NoError(t, err)
			require.Equal(t, "story", name)

			require.NoError(t, c.Set(ctx, binary, binary, 0).Err())
			got, err := c.Get(ctx, binary).Result()
			require.NoError(t, err)
			require.Equal(t, binary, got)
			require.ErrorIs(t, c.Get(ctx, "nokey").Err(), redis.Nil)

			require.NoError(t, c.Set(ctx, "short", "v", 50*time.Millisecond).Err())
			require.NoError(t, c.Set(ctx, "long", "v", time.Hour).Err())
			ttl, err := c.TTL(ctx, "long").Result()
			require.NoError(t, err)
			require.Equal(t, time.Hour, ttl)
			require.Eventually(t, func() bool { return c.Exists(ctx, "short").Val() == 0 }, 10*time.Second, 5*time.Millisecond)

			pipe := c.Pipeline()
			for i := range 1000 {
				pipe.Incr(ctx, "counter")
				pipe.Set(ctx, fmt.Sprint("pipe:", i), i, 0)
			}
			answers, err := pipe.Exec(ctx)
			require.NoError(t, err)
			require.Len(t, answers, 2000)
			require.EqualValues(t, 1000, answers[1998].(*redis.IntCmd).Val())

			transact(t, ctx, c)
			scan(t, ctx, c)

			// A restart: the client goes on, and nothing is lost.
			s.stop()
			s.start()
			require.EqualValues(t, 1000, c.IncrBy(ctx, "counter", 0).Val())
			require.Equal(t, binary, c.Get(ctx, binary).Val())

			require.ErrorContains(t, c.LPush(ctx, "list", "x").Err(), "there are no lists")
			require.NoError(t, c.FlushDB(ctx).Err())
			require.Zero(t, c.DBSize(ctx).Val())
		})
	}
}

// transact has two clients change what the other watches.
func transact(t *testing.T, ctx context.Context, c *redis.Client) {
	tries := 0
	err := c.Watch(ctx, func(tx *redis.Tx) error {
		n, err := tx.Get(ctx, "counter").Int()
		require.NoError(t, err)
		if tries++; tries == 1 {
			require.NoError(t, c.Set(ctx, "counter", n, 0).Err()) // another connection
		}
		_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, "counter", n, 0)
			p.Append(ctx, "log", "x")
			return nil
		})
		return err
	}, "counter")
	require.ErrorIs(t, err, redis.TxFailedErr)
	require.Zero(t, c.Exists(ctx, "log").Val())
	answers, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Append(ctx, "log", "x")
		p.StrLen(ctx, "log")
		return nil
	})
	require.NoError(t, err)
	require.EqualValues(t, 1, answers[1].(*redis.IntCmd).Val())
}

// scan goes through many keys, each of which comes once.
func scan(t *testing.T, ctx context.Context, c *redis.Client) {
	for begin := 0; begin < manyKeys; begin += 1000 {
		pairs := make([]any, 0, 2000)
		for i := begin; i < begin+1000; i++ {
			pairs = append(pairs, fmt.Sprint("scan:", i), "v")
		}
		require.NoError(t, c.MSet(ctx, pairs...).Err())
	}
	seen := make(map[string]bool)
	all := c.Scan(ctx, 0, "scan:*", 1000).Iterator()
	for all.Next(ctx) {
		require.False(t, seen[all.Val()], "%s came twice", all.Val())
		require.True(t, strings.HasPrefix(all.Val(), "scan:"))
		seen[all.Val()] = true
	}
	require.NoError(t, all.Err())
	require.Len(t, seen, manyKeys)
}
