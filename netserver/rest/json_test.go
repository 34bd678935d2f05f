package rest

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/protocol/jsonform"
)

// TestBytesInPieces: a value that is turned to JSON piece by piece is the same as in one piece.
func TestBytesInPieces(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		n := random.IntN(4*jsonPiece) + 1
		b := []byte(strings.Repeat("aé€😀\n", n)[:n])
		switch random.IntN(3) {
		case 0:
			b = bytes.ToValidUTF8(b, nil)
		case 1:
			for i := range b {
				b[i] = byte(random.Uint32())
			}
		}
		w := httptest.NewRecorder()
		x := newExchange(&handler{config: Config{WriteTimeout: time.Minute}}, w, httptest.NewRequest(http.MethodGet, "/", nil))
		out := &output{x: x}
		out.bytes(b)
		require.NoError(t, out.finish())
		require.True(t, bytes.Equal(jsonform.AppendBytes(nil, b), w.Body.Bytes()), "%d bytes", len(b))
	}
}
