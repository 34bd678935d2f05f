package netserver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestOwe: a client owes the time that it is waited for, less what it took, and less the time in which it was not.
func TestOwe(t *testing.T) {
	p := &patient{}
	for i, tt := range []struct {
		waited time.Duration
		taken  int64
		owed   time.Duration
	}{
		{10 * time.Second, 0, 10 * time.Second},
		{10 * time.Second, 1, 20*time.Second - time.Second/minRate},
		{time.Second, minRate, 20*time.Second - time.Second/minRate},
		{-30 * time.Second, 0, 0},     // nothing to send for so long
		{time.Second, 1 << 28, 0},     // fast: no credit for later
		{time.Minute, 0, time.Minute}, // as if nothing had been taken before
		{time.Minute, 60 * minRate, time.Minute},
	} {
		p.owe(tt.waited, tt.taken)
		require.Equal(t, tt.owed, p.owed, i)
	}
}
