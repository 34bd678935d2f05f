package netserver_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver/nettest"
	"kv/protocol"
	"kv/protocol/vectors"
)

// TestVectors runs the byte-for-byte examples of the specification.
func TestVectors(t *testing.T) {
	scenarios, err := vectors.Load("../protocol/testdata/vectors.txt")
	require.NoError(t, err)
	for _, sc := range scenarios {
		t.Run(sc.Name, func(t *testing.T) {
			nettest.Each(t, options(t, sc.Options), func(t *testing.T, s *nettest.Server) {
				require.NoError(t, sc.Run(s.Dial(t)))
			})
		})
	}
}

func options(t *testing.T, named map[string]string) (o nettest.Options) {
	o.Config.Backups = oneChunk("all of it")
	for name, value := range named {
		switch name {
		case "history":
			o.Store.History = int(number(t, value))
		case "max-memory":
			o.Store.MaxMemory = int64(number(t, value))
		case "max-frame":
			o.Config.Limit = uint32(number(t, value))
		case "user":
			user, secret, _ := strings.Cut(value, " ")
			o.Config.Accounts = nettest.Accounts(t, user, "rw", secret)
		default:
			require.Failf(t, "unknown option", "%s %s", name, value)
		}
	}
	return o
}

func number(t *testing.T, s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 63)
	require.NoError(t, err)
	return n
}

// oneChunk is a backup of one chunk.
type oneChunk string

func (b oneChunk) End(uint64) {}

func (b oneChunk) Backup(_ string, handle uint64) (uint64, []byte, error) {
	if handle != 0 {
		return 0, nil, &protocol.Error{Status: protocol.StatusBadRequest, Message: "no such backup"}
	}
	return 0, []byte(b), nil
}
