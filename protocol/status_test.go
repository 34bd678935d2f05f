package protocol_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol"
)

func TestAnErrorNamesItsStatusOnce(t *testing.T) {
	for message, want := range map[string]string{
		"":                      "out of memory",
		"out of memory":         "out of memory",
		"out of memory: 5 MiB":  "out of memory: 5 MiB",
		"out of memory, really": "out of memory: out of memory, really",
		"no room":               "out of memory: no room",
	} {
		err := &protocol.Error{Status: protocol.StatusOutOfMemory, Message: message}
		assert.EqualError(t, err, want)
	}
}

// TestWordsOfMessages: the words that programs go by are those of the specification, and of nothing else.
func TestWordsOfMessages(t *testing.T) {
	specification, err := os.ReadFile("../docs/protocol.md")
	require.NoError(t, err)
	for _, words := range []string{protocol.MessageStaleCursor, protocol.MessageNothingApplied} {
		assert.Contains(t, string(specification), `"`+words+`"`)
	}
	for _, tt := range []struct {
		status            protocol.Status
		message           string
		stale, notApplied bool
	}{
		{protocol.StatusBadRequest, "stale cursor", true, true},
		{protocol.StatusBadRequest, "a stale cursor", false, true},
		{protocol.StatusStale, "stale cursor", false, true},
		{protocol.StatusUnavailable, "the server is shutting down: nothing was applied", false, true},
		{protocol.StatusUnavailable, "the disk failed", false, false},
		{protocol.StatusInternal, "a defect: nothing was applied", false, true},
		{protocol.StatusInternal, "", false, false},
		{protocol.StatusOK, "nothing was applied", false, false},
	} {
		err := &protocol.Error{Status: tt.status, Message: tt.message}
		assert.Equal(t, tt.stale, err.StaleCursor(), "%v", err)
		assert.Equal(t, tt.notApplied, err.NotApplied(), "%v", err)
	}
}
