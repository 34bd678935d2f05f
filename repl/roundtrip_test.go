package repl_test

import (
	"bytes"
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"kv/netserver"
	"kv/repl"
	"kv/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startServer starts a server with an empty store.
func startServer(t *testing.T) (addr string) {
	return startServerWith(t, store.Options{}, netserver.Config{})
}

func startServerWith(t *testing.T, o store.Options, config netserver.Config) (addr string) {
	st, err := store.Open(o)
	require.NoError(t, err)
	return serve(t, st, config)
}

// serve starts a server of st, which it closes when the test ends.
func serve(t *testing.T, st *store.Store, config netserver.Config) (addr string) {
	config.Store = st
	srv, err := netserver.New(config)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan struct{})
	go func() {
		srv.Serve(l)
		close(served)
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		srv.Shutdown(ctx)
		<-served
		st.Close()
	})
	return l.Addr().String()
}

// kvc runs kvc in this process, and returns what it printed.
func kvc(t require.TestingT, addr, stdin string, args ...string) string {
	var stdout, stderr bytes.Buffer
	env := repl.Env{
		In: strings.NewReader(stdin), Out: &stdout, Err: &stderr,
		Getenv: func(name string) string { return map[string]string{"KV_ADDR": addr}[name] },
		Size:   func() (int, int) { return 80, 24 },
	}
	require.Zero(t, repl.Main(context.Background(), env, args), "%v: %s", args, &stderr)
	return stdout.String()
}

func bytesOrText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
}

func TestAnyBytesComeThroughPipes(t *testing.T) {
	from, to := startServer(t), startServer(t)
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.MapOfN(bytesOrText(), bytesOrText(), 1, 20).Draw(t, "values")
		zero := rapid.SampledFrom([][]string{nil, {"-0"}}).Draw(t, "zero")
		var keys, pairs []string
		for k, v := range values {
			if strings.Contains(k+v, "\x00") {
				continue // no argument can hold it; what the store has comes through stdin below
			}
			keys, pairs = append(keys, k), append(pairs, k, v)
		}
		if len(keys) == 0 {
			return
		}
		clear := func(addr string) { kvc(t, addr, kvc(t, addr, "", "scan"), "del", "-") }
		clear(from)
		clear(to)
		kvc(t, from, "", append([]string{"mset", "--"}, pairs...)...)
		for i, k := range keys {
			require.Equal(t, pairs[2*i+1], kvc(t, from, "", "get", "--", k))
		}

		// mget | mset
		all := kvc(t, from, "", append(append([]string{"mget"}, zero...), append([]string{"--"}, keys...)...)...)
		kvc(t, to, all, append([]string{"mset", "-"}, zero...)...)
		require.Equal(t, sorted(kvc(t, from, "", "scan", "--values")), sorted(kvc(t, to, "", "scan", "--values")))

		// export | import, in both forms
		for _, form := range [][]string{zero, {"--json"}} {
			clear(to)
			kvc(t, to, kvc(t, from, "", append([]string{"export"}, form...)...), append([]string{"import", "-"}, form...)...)
			require.Equal(t, sorted(kvc(t, from, "", "scan", "--values")), sorted(kvc(t, to, "", "scan", "--values")))
		}
	})
}

func TestAnyBytesComeThroughStdin(t *testing.T) {
	addr := startServer(t)
	rapid.Check(t, func(t *rapid.T) {
		value := bytesOrText().Draw(t, "value")
		kvc(t, addr, value, "set", "k", "-")
		require.Equal(t, value, kvc(t, addr, "", "get", "k"))
		line := kvc(t, addr, "", "mget", "k")
		kvc(t, addr, "", "del", "k")
		kvc(t, addr, line, "mset", "-")
		require.Equal(t, value, kvc(t, addr, "", "get", "k"))
	})
}

func sorted(lines string) []string {
	all := strings.SplitAfter(lines, "\n")
	slices.Sort(all)
	return all
}
