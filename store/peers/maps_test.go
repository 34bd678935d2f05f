package peers

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Every table finds every key, so that the benchmarks measure hits.
func TestTablesHoldTheSame(t *testing.T) {
	const keys = 5_000
	a := ask(keys)
	want := 0
	for i := range keys {
		want += i & 0xff
	}
	for _, kind := range tables {
		t.Run(kind.name, func(t *testing.T) {
			m := kind.open()
			defer m.close()
			fill(m, keys)
			require.Equal(t, want, m.reader()(a, 0, keys))
		})
	}
}
