package repl_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/store"
)

// limited starts a server with little memory and few connections.
func limited(t *testing.T) (addr string, st *store.Store) {
	st, err := store.Open(store.Options{MaxMemory: 4 << 20})
	require.NoError(t, err)
	return serve(t, st, netserver.Config{MaxConnections: 3, Limit: 1 << 20}), st
}

// Whatever ends a bench, no key of it is left, and no other is touched.
func TestABenchThatFailsCleansUp(t *testing.T) {
	addr, st := limited(t)
	environ := map[string]string{"KV_ADDR": addr}
	_, _, code := run(environ, "mset", "kvc-bench", "mine", "other", "mine")
	require.Zero(t, code)
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--keys", "100000", "--value-size", "1KiB"}, 4, "store the keys: out of memory"},
		{[]string{"--keys", "1000", "--connections", "20", "--duration", "50ms"}, 4, "too many connections"},
		{[]string{"--keys", "100000", "--value-size", "500KiB", "--mix", "set=1", "--connections", "1", "--duration",
			"500ms"}, 4, "out of memory"},
		{[]string{"--keys", "100", "--connections", "1", "--duration", "10ms", "--rate", "1e-300"}, 0, "1 operations"},
	} {
		_, stderr, code := run(environ, append([]string{"bench"}, tt.args...)...)
		assert.Equal(t, tt.code, code, "%v: %s", tt.args, stderr)
		assert.Contains(t, stderr, tt.says, "%v", tt.args)
		assert.EqualValues(t, 2, st.Stats().Keys, "%v: %s", tt.args, stderr)
	}
}

// What no server takes, or would be too much for the machine that asks, is refused before anything is done.
func TestABenchThatIsTooLarge(t *testing.T) {
	addr, st := limited(t)
	for _, args := range [][]string{
		{"--value-size", "900GB"}, {"--value-size", "1MiB"}, {"--value-size", "1000TiB"}, {"--pipeline", "2000000000"},
		{"--connections", "2000000000"}, {"--connections", "100", "--pipeline", "1000", "--value-size", "100KiB"},
	} {
		_, stderr, code := run(map[string]string{"KV_ADDR": addr}, append([]string{"bench", "--duration", "1ms"}, args...)...)
		assert.Equal(t, 2, code, "%v: %s", args, stderr)
		assert.NotEmpty(t, stderr)
	}
	assert.Zero(t, st.Stats().Keys)
}
