package store

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A Maker's entries are those that NewEntry makes; and what does not fit, or may be kept by others, is not in its memory.
func TestMaker(t *testing.T) {
	var m Maker
	for range 2 {
		var made, want []*Entry
		for i := range 500 {
			key, value := make([]byte, i%40), make([]byte, i*11)
			for j := range value {
				value[j] = byte(i)
			}
			e := NewEntry(uint64(i+1), key, value, uint64(i%3)*1000, false)
			made, want = append(made, m.Entry(e.Version(), key, value, e.Expiry())), append(want, e)
		}
		require.Equal(t, want, made)
		for i := range made {
			require.Equal(t, want[i].Key(), made[i].Key())
			require.Equal(t, want[i].Value(), made[i].Value())
		}
		large, small := made[400], made[300] // 4400 bytes, 3300 bytes
		m.Reset()
		m.Entry(1, []byte("x"), make([]byte, 4000), 0)
		require.Equal(t, want[400], large, "it may be kept")
		require.NotNil(t, small)
	}
}
