package protocol_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol"
)

// checkRequest and checkResponse hold what every parser must: it refuses in the way that its side expects, or has
// understood all of the body, so that encoding it again gives the same bytes.

func checkRequest(t testing.TB, h protocol.Header, body []byte) {
	again, err := reencodeRequest(h, body)
	if err != nil {
		require.ErrorIs(t, err, protocol.ErrBadRequest)
		return
	}
	require.True(t, bytes.Equal(body, again[protocol.HeaderSize:]),
		"%v: %x became %x", h.Opcode, body, again[protocol.HeaderSize:])
	require.Equal(t, h.Flags, again[5])
}

func checkResponse(t testing.TB, flags uint8, h protocol.Header, body []byte) {
	again, err := reencodeResponse(flags, h, body)
	if err != nil {
		require.ErrorIs(t, err, protocol.ErrMalformed)
		return
	}
	require.True(t, bytes.Equal(body, again[protocol.HeaderSize:]),
		"%v: %x became %x", h.Opcode, body, again[protocol.HeaderSize:])
}

// small returns the samples of the vectors that are not large for a purpose.
func small(t testing.TB) []pair {
	var all []pair
	for _, pairs := range samples(t) {
		for _, p := range pairs {
			if len(p.request) < 1000 {
				all = append(all, p)
			}
		}
	}
	require.Greater(t, len(all), 100)
	return all
}

func TestEveryBodyCutAtEveryByte(t *testing.T) {
	for _, p := range small(t) {
		q, body := split(p.request)
		for n := range len(body) {
			checkRequest(t, q, body[:n:n])
		}
		r, answer := split(p.response)
		for n := range len(answer) {
			checkResponse(t, q.Flags, r, answer[:n:n])
		}
	}
}

// Every four and every eight bytes of every body are replaced by the numbers at which arithmetic goes wrong. What a
// parser takes stays in proportion to the body.
func TestEveryIntegerAtItsLimits(t *testing.T) {
	limits := []uint64{0, 1, 1<<28 - 9, 1 << 28, 1<<31 - 1, 1 << 31, 1<<32 - 2, 1<<32 - 1, 1<<63 - 1, 1 << 63, 1<<64 - 1}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	parsed := uint64(0)
	each := func(body []byte, check func(changed []byte)) {
		for at := range len(body) {
			for _, limit := range limits {
				wide := binary.BigEndian.AppendUint64(nil, limit)
				for _, n := range []int{2, 4, 8} {
					if at+n <= len(body) {
						changed := bytes.Clone(body)
						copy(changed[at:at+n], wide[8-n:])
						check(changed)
						parsed++
					}
				}
			}
		}
	}
	for _, p := range small(t) {
		q, body := split(p.request)
		each(body, func(changed []byte) { checkRequest(t, q, changed) })
		r, answer := split(p.response)
		each(answer, func(changed []byte) { checkResponse(t, q.Flags, r, changed) })
	}
	runtime.ReadMemStats(&after)
	assert.Less(t, (after.TotalAlloc-before.TotalAlloc)/parsed, uint64(16<<10), "bytes allocated for each small body")
}

// A count is compared with the length of the body before anything is allocated for it.
func TestCountsAreNotBelieved(t *testing.T) {
	huge := []byte{0xff, 0xff, 0xff, 0xff}
	for name, parse := range map[string]func([]byte) error{
		"members": func(b []byte) error {
			_, err := protocol.ParseClusterResponse(append(make([]byte, 48), b...))
			return err
		},
		"keys":       func(b []byte) error { _, err := protocol.ParseKeys(nil, b); return err },
		"pairs":      func(b []byte) error { _, err := protocol.ParseMSet(nil, b); return err },
		"conditions": func(b []byte) error { _, err := protocol.ParseTxn(0, b); return err },
		"operations": func(b []byte) error { _, err := protocol.ParseTxn(0, append(make([]byte, 4), b...)); return err },
		"values":     func(b []byte) error { _, err := protocol.ParseValues(nil, false, b); return err },
		"stats":      func(b []byte) error { _, err := protocol.ParseStats(b); return err },
		"items": func(b []byte) error {
			_, err := protocol.ParseScanPage(false, false, append(make([]byte, 2), b...))
			return err
		},
		"revisions": func(b []byte) error { _, err := protocol.ParseHistoryResponse(b); return err },
		"results": func(b []byte) error {
			_, err := protocol.ParseTxnResponse(false, append(make([]byte, 8), b...))
			return err
		},
	} {
		for _, tail := range [][]byte{nil, huge, bytes.Repeat(huge, 100)} {
			body := append(bytes.Clone(huge), tail...)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := parse(body)
			runtime.ReadMemStats(&after)
			assert.Error(t, err, name)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<10), name)
		}
	}
}

// A parser of keys, pairs or values that is given room takes no memory of its own.
func TestParsersDoNotAllocate(t *testing.T) {
	keys := protocol.AppendKeys(nil, protocol.OpMGet, 0, 1, []byte("a"), []byte("b"))[protocol.HeaderSize:]
	pairs := protocol.AppendMSet(nil, 1, protocol.Pair{Key: []byte("a"), Value: []byte("b")})[protocol.HeaderSize:]
	set := protocol.Set{Key: []byte("a"), Value: []byte("b"), TTL: 1}.AppendTo(nil, 1)
	frame := make([]byte, 0, 100)
	for name, f := range map[string]func(){
		"GET":  func() { protocol.ParseGet(protocol.FlagWithMeta, keys) },
		"SET":  func() { protocol.ParseSet(protocol.FlagTTL, set[protocol.HeaderSize:]) },
		"MGET": func() { protocol.ParseKeys(make([][]byte, 0, 4), keys) },
		"MSET": func() { protocol.ParseMSet(make([]protocol.Pair, 0, 4), pairs) },
		"encode": func() {
			frame = protocol.Set{Key: keys, Value: pairs}.AppendTo(frame[:0], 1)
			frame = protocol.AppendVersion(frame[:0], protocol.OpSet, 1, 2)
			frame = protocol.AppendError(frame[:0], protocol.OpGet, 1, protocol.ErrNotFound)
		},
	} {
		assert.Zero(t, testing.AllocsPerRun(100, f), name)
	}
}

func TestMalformedResponses(t *testing.T) {
	type table map[string]string
	for name, tt := range map[string]struct {
		parse func([]byte) error
		cases table
	}{
		"GET with meta": {func(b []byte) error { _, err := protocol.ParseValue(true, b); return err }, table{
			"empty": "", "a byte short": "00000000000000010000000000000000"[2:],
		}},
		"version": {func(b []byte) error { _, err := protocol.ParseVersion(b); return err }, table{
			"empty": "", "short": "00000000000001", "long": "000000000000000100",
		}},
		"DEL": {func(b []byte) error { _, _, err := protocol.ParseDeleted(b); return err }, table{
			"empty": "", "short": "0000000100000000000000", "long": "00000001000000000000000100",
		}},
		"MGET": {func(b []byte) error { _, err := protocol.ParseValues(nil, false, b); return err }, table{
			"empty": "", "count without values": "00000001", "value past the end": "000000010000000261", "left over": "0000000000",
			"bytes after the absent": "00000001ffffffff00", "almost absent": "00000001fffffffe",
		}},
		"MGET with meta": {func(b []byte) error { _, err := protocol.ParseValues(nil, true, b); return err }, table{
			"no meta": "000000010000000161", "meta cut": "00000001" + "00000000" + "0000000000000001" + "000000000000",
		}},
		"TXN": {func(b []byte) error { _, err := protocol.ParseTxnResponse(false, b); return err }, table{
			"empty": "", "no count": "0000000000000001", "unknown kind": "0000000000000001" + "00000001" + "05",
			"kind 0": "0000000000000001" + "00000001" + "00", "existed 2": "0000000000000001" + "00000001" + "0302",
			"del cut": "0000000000000001" + "00000001" + "03", "left over": "0000000000000001" + "00000001" + "0202",
		}},
		"STATS": {func(b []byte) error { _, err := protocol.ParseStats(b); return err }, table{
			"empty": "", "name past the end": "00000001" + "0002" + "0000000000000001" + "61", "left over": "0000000000",
		}},
		"HELLO": {func(b []byte) error { _, err := protocol.ParseHelloResponse(b); return err }, table{
			"empty": "", "short": "0001" + "04000000" + "00000000000000",
		}},
		"SCAN": {func(b []byte) error { _, err := protocol.ParseScanPage(true, true, b); return err }, table{
			"empty": "", "cursor past the end": "0001", "no count": "0000", "key past the end": "0000" + "00000001" + "00000001",
			"no meta": "0000" + "00000001" + "0000000161", "left over": "0000" + "00000000" + "00",
			"no value": "0000" + "00000001" + "0000000161" + "00000000000000010000000000000000",
		}},
		"CLUSTER": {func(b []byte) error { _, err := protocol.ParseClusterResponse(b); return err }, table{
			"empty": "", "no count": strings.Repeat("00", 48), "count without members": strings.Repeat("00", 48) + "00000001", "left over": strings.Repeat("00", 53),
			"role 3":               strings.Repeat("00", 48) + "00000001" + "0000000000000001" + "03" + "01" + "0000000000000001" + "0000" + "0000",
			"reachable 2":          strings.Repeat("00", 48) + "00000001" + "0000000000000001" + "01" + "02" + "0000000000000001" + "0000" + "0000",
			"address past the end": strings.Repeat("00", 48) + "00000001" + "0000000000000001" + "01" + "01" + "0000000000000001" + "0000" + "0001",
		}},
		"INCR": {func(b []byte) error { _, err := protocol.ParseIncrResponse(b); return err }, table{
			"empty": "", "a value alone": "0000000000000001", "long": "0000000000000001" + "0000000000000001" + "00",
		}},
		"HISTORY": {func(b []byte) error { _, err := protocol.ParseHistoryResponse(b); return err }, table{
			"empty": "", "count without versions": "00000001", "left over": "0000000000",
			"value past the end": "00000001" + "00000000000000010000000000000001" + "00000001",
		}},
		"SNAPSHOT": {func(b []byte) error { _, err := protocol.ParseSnapshotResponse(b); return err }, table{
			"empty": "", "short": "000000000000000100000000000000", "long": "0000000000000001000000000000000100",
		}},
		"BACKUP": {func(b []byte) error { _, err := protocol.ParseBackupResponse(b); return err }, table{
			"empty": "", "short": "00000000000001", "not the last and empty": "0000000000000001",
		}},
		"CONFLICT": {func(b []byte) error { return protocol.ParseError(protocol.OpSet, protocol.StatusConflict, b) }, table{
			"empty": "", "short": "00000000000001", "that of a TXN": "000000010000000000000001",
		}},
		"CONFLICT of a TXN": {func(b []byte) error { return protocol.ParseError(protocol.OpTxn, protocol.StatusConflict, b) }, table{
			"empty": "", "that of a SET": "0000000000000001",
		}},
	} {
		for what, body := range tt.cases {
			b, err := hex.DecodeString(body)
			require.NoError(t, err)
			assert.ErrorIs(t, tt.parse(b), protocol.ErrMalformed, "%s: %s", name, what)
		}
	}
}

// The message about a bad request is for a person: it names the request and its fault.
func TestRefusalsSayWhatIsWrong(t *testing.T) {
	for name, pairs := range samples(t) {
		for _, p := range pairs {
			if q, body := split(p.request); protocol.ParseHeader(p.response).Status() == protocol.StatusBadRequest && q.Opcode.AllowsFlags(q.Flags) {
				if _, err := reencodeRequest(q, body); err != nil {
					assert.True(t, strings.HasPrefix(err.Error(), "bad request: "), "%s: %v", name, err)
				}
			}
		}
	}
}
