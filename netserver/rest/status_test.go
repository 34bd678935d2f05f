package rest

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/protocol"
)

// TestEachStatusIsCounted: what an answer counts as goes back and forth with the protocol's statuses.
func TestEachStatusIsCounted(t *testing.T) {
	for status := protocol.StatusNotFound; status <= protocol.StatusStale; status++ {
		counted := map[protocol.Status]protocol.Status{
			protocol.StatusUnknownOpcode: protocol.StatusInternal,    // HTTP has no opcodes
			protocol.StatusStale:         protocol.StatusUnavailable, // 503, both
		}
		want, other := counted[status]
		if !other {
			want = status
		}
		require.Equal(t, want, statusOf(httpStatus(status)), status)
	}
	for code, want := range map[int]protocol.Status{
		http.StatusOK: protocol.StatusOK, http.StatusNoContent: protocol.StatusOK, http.StatusNotModified: protocol.StatusOK,
		http.StatusPreconditionFailed: protocol.StatusConflict, http.StatusInsufficientStorage: protocol.StatusOutOfMemory,
		http.StatusMethodNotAllowed: protocol.StatusBadRequest, http.StatusTeapot: protocol.StatusBadRequest,
	} {
		require.Equal(t, want, statusOf(code), code)
	}
}
