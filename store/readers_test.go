package store

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Who stays in a view keeps what is replaced from being used again: it is counted, the log says so once, writes go on, slower, and all of it is free
// when he is done.
func TestReaderThatStays(t *testing.T) {
	var log bytes.Buffer
	s := openTest(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, fullHash)
	key := []byte("key")
	value := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 1<<20) }
	set := func(i int) {
		_, err := s.Set(key, value(i), SetOptions{})
		require.NoError(t, err)
	}
	set(0)
	stays := s.Store.Session()
	defer stays.Close()
	v := stays.View()
	e := v.Get(key)
	const n = mostWaiting>>20 + 2
	for i := range n {
		set(i + 1)
	}
	require.Equal(t, value(0), e.Value())
	require.GreaterOrEqual(t, s.Session.Stats().WaitingBytes, uint64(mostWaiting))
	require.LessOrEqual(t, s.Session.Stats().WaitingBytes, s.Session.Stats().MemoryBytes)

	require.Eventually(t, func() bool { s.sweep(); return s.readers.slow.Load() != nil }, 10*time.Second, 10*time.Millisecond)
	s.sweep()
	require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("level=WARN")), log.String())
	require.Contains(t, log.String(), "somebody is reading")
	set(100)
	_, _, err := s.Del(keysOf("other"))
	require.NoError(t, err)

	v.Close()
	s.sweep()
	require.Nil(t, s.readers.slow.Load())
	for range 2 * n {
		set(101)
	}
	require.Less(t, s.Session.Stats().WaitingBytes, uint64(4<<20))
}
