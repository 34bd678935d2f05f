package netserver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestComplaintDue: one warning a second, which counts those left out before it.
func TestComplaintDue(t *testing.T) {
	var k Complaint
	start := time.Unix(1_700_000_000, 0)
	for i, tt := range []struct {
		after time.Duration
		left  int
		due   bool
	}{
		{0, 0, true},
		{0, 0, false},
		{complaintEvery - 1, 0, false},
		{complaintEvery, 2, true},
		{complaintEvery + 1, 0, false},
		{10 * complaintEvery, 1, true},
		{20 * complaintEvery, 0, true},
	} {
		left, due := k.due(start.Add(tt.after))
		require.Equal(t, tt.due, due, i)
		require.Equal(t, tt.left, left, i)
	}
}
