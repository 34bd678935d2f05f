package clienttest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
)

func TestRueidis(t *testing.T) {
	s := start(t)
	ctx := context.Background()
	// Without its cache, which has the server tell of changes.
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.addr}, DisableCache: true,
		ClientName: "story", ForceSingleClient: true})
	require.NoError(t, err)
	defer c.Close()

	require.NoError(t, c.Do(ctx, c.B().Set().Key(binary).Value(binary).Build()).Error())
	got, err := c.Do(ctx, c.B().Get().Key(binary).Build()).ToString()
	require.NoError(t, err)
	require.Equal(t, binary, got)
	require.True(t, rueidis.IsRedisNil(c.Do(ctx, c.B().Get().Key("nokey").Build()).Error()))

	require.NoError(t, c.Do(ctx, c.B().Set().Key("short").Value("v").PxMilliseconds(50).Build()).Error())
	require.Eventually(t, func() bool {
		n, err := c.Do(ctx, c.B().Exists().Key("short").Build()).AsInt64()
		return err == nil && n == 0
	}, 10*time.Second, 5*time.Millisecond)

	var pipe rueidis.Commands
	for range 1000 {
		pipe = append(pipe, c.B().Incr().Key("counter").Build())
	}
	for i, answer := range c.DoMulti(ctx, pipe...) {
		n, err := answer.AsInt64()
		require.NoError(t, err)
		require.EqualValues(t, i+1, n)
	}

	err = c.Dedicated(func(d rueidis.DedicatedClient) error {
		require.NoError(t, d.Do(ctx, d.B().Watch().Key("counter").Build()).Error())
		require.NoError(t, c.Do(ctx, c.B().Incr().Key("counter").Build()).Error())
		answers := d.DoMulti(ctx, d.B().Multi().Build(), d.B().Append().Key("log").Value("x").Build(), d.B().Exec().Build())
		require.True(t, rueidis.IsRedisNil(answers[2].Error()))
		answers = d.DoMulti(ctx, d.B().Multi().Build(), d.B().Append().Key("log").Value("x").Build(), d.B().Exec().Build())
		all, err := answers[2].ToArray()
		require.NoError(t, err)
		require.Len(t, all, 1)
		return nil
	})
	require.NoError(t, err)

	for begin := 0; begin < manyKeys; begin += 1000 {
		pairs := c.B().Mset().KeyValue()
		for i := begin; i < begin+1000; i++ {
			pairs = pairs.KeyValue(fmt.Sprint("scan:", i), "v")
		}
		require.NoError(t, c.Do(ctx, pairs.Build()).Error())
	}
	seen := make(map[string]bool)
	for cursor := uint64(0); ; {
		page, err := c.Do(ctx, c.B().Scan().Cursor(cursor).Match("scan:*").Count(1000).Build()).AsScanEntry()
		require.NoError(t, err)
		for _, key := range page.Elements {
			require.False(t, seen[key], "%s came twice", key)
			seen[key] = true
		}
		if cursor = page.Cursor; cursor == 0 {
			break
		}
	}
	require.Len(t, seen, manyKeys)

	s.stop()
	s.start()
	require.Eventually(t, func() bool {
		n, err := c.Do(ctx, c.B().Incrby().Key("counter").Increment(0).Build()).AsInt64()
		return err == nil && n == 1001
	}, 10*time.Second, 20*time.Millisecond)
}
