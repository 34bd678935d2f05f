package protocol_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/vectors"
)

// pair is a request of the vectors with its response, as bytes: what only a server can know is made up.
type pair struct{ request, response []byte }

// samples returns every request in the vectors that is a whole frame and has a response, by scenario/exchange.
func samples(t testing.TB) map[string][]pair {
	scenarios, err := vectors.Load("testdata/vectors.txt")
	require.NoError(t, err)
	all := map[string][]pair{}
	for _, s := range scenarios {
		captured := vectors.Captures{}
		for _, x := range s.Exchanges {
			name := s.Name + "/" + x.Name
			require.NotContains(t, all, name, "two exchanges of one name")
			all[name] = nil
			for i, f := range x.Responses {
				request, err := x.Requests[i].Sample(captured)
				require.NoError(t, err, name)
				response, err := f.Sample(captured)
				require.NoError(t, err, name)
				all[name] = append(all[name], pair{request, response})
			}
			if !x.Closes {
				require.Len(t, x.Requests, len(x.Responses), name)
			}
		}
	}
	return all
}

func TestVectorsEncodeAndParse(t *testing.T) {
	for name, pairs := range samples(t) {
		for _, p := range pairs {
			q, body := split(p.request)
			require.Equal(t, len(p.request), q.Size(), "%s: length of the request", name)
			r, answer := split(p.response)
			require.Equal(t, len(p.response), r.Size(), "%s: length of the response", name)
			assert.Equal(t, q.Opcode, r.Opcode, "%s: the response's opcode", name)
			assert.Equal(t, q.ID, r.ID, "%s: the response's id", name)
			assert.Zero(t, r.Reserved, name)

			again, err := reencodeRequest(q, body)
			switch r.Status() {
			case protocol.StatusUnknownOpcode:
				assert.False(t, q.Opcode.Known(), name)
			case protocol.StatusBadRequest:
				// A cursor or handle that no server gave is well-formed; everything else is for the parsers to see.
				stale := name == "scan/scan-stale-cursor" || name == "purge/purge-stale-cursor" ||
					name == "backup/backup-unknown-handle"
				stale = stale || strings.HasPrefix(name, "counters/incr-refused")
				stale = stale || name == "alone/member-add" || name == "alone/member-remove" // there is no cluster
				assert.Equal(t, !stale, err != nil, "%s: refused by its parser", name)
			case protocol.StatusTooLarge, protocol.StatusUnauthenticated: // found before the body is looked at
			default:
				require.NoError(t, err, name)
				assert.Equal(t, p.request, again, "%s: the request, parsed and encoded again", name)
			}

			again, err = reencodeResponse(q.Flags, r, answer)
			require.NoError(t, err, name)
			assert.Equal(t, p.response, again, "%s: the response, parsed and encoded again", name)
		}
	}
}

// Every opcode has a vector of its success and of each error that its request alone can cause.
func TestVectorsAreComplete(t *testing.T) {
	seen := map[protocol.Opcode]map[protocol.Status]bool{}
	for _, pairs := range samples(t) {
		for _, p := range pairs {
			h := protocol.ParseHeader(p.response)
			if seen[h.Opcode] == nil {
				seen[h.Opcode] = map[protocol.Status]bool{}
			}
			seen[h.Opcode][h.Status()] = true
		}
	}
	for op := range protocol.Opcode(255) {
		if !op.Known() {
			continue
		}
		if op != protocol.OpSnapshot && op != protocol.OpMember { // which succeed only where there is a disk, and a cluster
			assert.True(t, seen[op][protocol.StatusOK], "%v: no success", op)
		}
		assert.True(t, seen[op][protocol.StatusBadRequest], "%v: no BAD_REQUEST", op)
	}
	for op, status := range map[protocol.Opcode]protocol.Status{
		protocol.OpGet: protocol.StatusNotFound, protocol.OpHistory: protocol.StatusNotFound, protocol.OpRollback: protocol.StatusNotFound,
		protocol.OpExpire: protocol.StatusNotFound, protocol.OpPersist: protocol.StatusNotFound, protocol.OpIncr: protocol.StatusConflict,
		protocol.OpTxn: protocol.StatusConflict, protocol.OpSet: protocol.StatusConflict, protocol.OpMSet: protocol.StatusOutOfMemory,
		protocol.OpPing: protocol.StatusTooLarge, protocol.OpHello: protocol.StatusUnauthenticated, 0x0d: protocol.StatusUnknownOpcode,
	} {
		assert.True(t, seen[op][status], "%v: no %v", op, status)
	}
}

// The examples in the specification are blocks marked "vector"; their first line names scenario/exchange.
func TestSpecificationQuotesTheVectors(t *testing.T) {
	scenarios, err := vectors.Load("testdata/vectors.txt")
	require.NoError(t, err)
	exchanges := map[string]vectors.Exchange{}
	for _, s := range scenarios {
		for _, x := range s.Exchanges {
			exchanges[s.Name+"/"+x.Name] = x
		}
	}
	text, err := os.ReadFile("../docs/protocol.md")
	require.NoError(t, err)
	blocks := strings.Split(string(text), "```vector\n")[1:]
	require.NotEmpty(t, blocks)
	known, quoted := samples(t), map[protocol.Opcode]bool{}
	for _, block := range blocks {
		block, _, ok := strings.Cut(block, "```")
		require.True(t, ok, "an open block: %.60s", block)
		name, frames, _ := strings.Cut(block, "\n")
		want, ok := exchanges[name]
		require.True(t, ok, "no vector %q", name)
		got, err := vectors.Parse("scenario quoted\nexchange " + want.Name + "\n" + frames)
		require.NoError(t, err, name)
		assert.Equal(t, want, got[0].Exchanges[0], "%s in the specification and in the vectors", name)
		for _, p := range known[name] {
			quoted[protocol.ParseHeader(p.request).Opcode] = true
		}
	}
	for op := range protocol.Opcode(255) {
		assert.True(t, !op.Known() || quoted[op], "the specification has no example of %v", op)
	}
}
