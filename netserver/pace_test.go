package netserver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestOwed: a client owes the time that it is waited for, less what it took, and less the time in which it was not.
func TestOwed(t *testing.T) {
	var owed time.Duration
	for i, tt := range []struct {
		waited time.Duration
		taken  int64
		owed   time.Duration
	}{
		{10 * time.Second, 0, 10 * time.Second},
		{10 * time.Second, 1, 20*time.Second - time.Second/MinRate},
		{time.Second, MinRate, 20*time.Second - time.Second/MinRate},
		{-30 * time.Second, 0, 0},     // nothing to send for so long
		{time.Second, 1 << 28, 0},     // fast: no credit for later
		{time.Minute, 0, time.Minute}, // as if nothing had been taken before
		{time.Minute, 60 * MinRate, time.Minute},
	} {
		owed = Owed(owed, tt.waited, tt.taken)
		require.Equal(t, tt.owed, owed, i)
	}
}
