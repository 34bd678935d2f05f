package netserver_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/store"
)

// TestFailuresThatProgramsKnow: what the store says is told in the words that clients go by.
func TestFailuresThatProgramsKnow(t *testing.T) {
	st, err := store.Open(store.Options{})
	require.NoError(t, err)
	defer st.Close()
	s := st.Session()
	cursor := []byte("0123456789abcdef")

	_, err = s.Scan(cursor, store.ScanOptions{})
	require.True(t, netserver.Failure(err).StaleCursor(), "%v", err)
	_, _, _, err = s.PurgePrefix(cursor, nil)
	require.True(t, netserver.Failure(err).StaleCursor(), "%v", err)
	require.True(t, netserver.Failure(&store.MovedError{}).NotApplied(), "no node leads")
	require.True(t, netserver.Failure(&store.MovedError{Leader: "n2:7070"}).NotApplied())

	require.False(t, netserver.Failure(store.ErrReadOnly).NotApplied())
	require.False(t, netserver.Failure(store.ErrNotANumber).StaleCursor())
}
