package repl_test

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/fakeserver"
)

// pages answers as a server with the keys k1, k2 and k3, of which each had an earlier version: in two pages.
func pages(h protocol.Header, body []byte) []byte {
	switch h.Opcode {
	case protocol.OpScan:
		q, _ := protocol.ParseScan(h.Flags, body)
		keys, page := []string{"k1", "k2"}, protocol.ScanPage{Cursor: []byte("next")}
		if len(q.Cursor) > 0 {
			keys, page.Cursor = []string{"k3"}, nil
		}
		for _, k := range keys {
			page.Items = append(page.Items, protocol.ScanItem{Key: []byte(k), Value: []byte("v")})
		}
		return page.AppendTo(nil, h.ID, q.WithMeta, q.WithValues)
	case protocol.OpPurge:
		q, _ := protocol.ParsePurge(nil, h.Flags, body)
		if len(q.Cursor) > 0 {
			return protocol.PurgeResponse{Erased: 1, Version: 9}.AppendTo(nil, h.ID)
		}
		return protocol.PurgeResponse{Erased: 2, Version: 8, Cursor: []byte("next")}.AppendTo(nil, h.ID)
	case protocol.OpDel:
		keys, _ := protocol.ParseKeys(nil, body)
		return protocol.AppendDeleted(nil, h.ID, uint32(len(keys)), 7)
	}
	return protocol.AppendError(nil, h.Opcode, h.ID, protocol.ErrUnknownOpcode)
}

// Commands of many requests wait where no server leads, as long as --timeout says, and send again what was not applied,
// and nothing else. They say how far they got.
func TestManyRequestsWaitForALeader(t *testing.T) {
	nobody := &protocol.Error{Status: protocol.StatusUnavailable, Message: "no node leads now: nothing was applied, try again"}
	maybe := &protocol.Error{Status: protocol.StatusUnavailable, Message: "it may have been applied"}
	unread := &protocol.Error{Status: protocol.StatusUnavailable, Message: "no leader, or no majority, could be asked"}
	moved := &protocol.Error{Status: protocol.StatusBadRequest, Message: protocol.MessageStaleCursor}
	type answers = map[int]*protocol.Error // to the first, the second … of the requests that come; the others are done
	const onward = 1000                    // all from this one less 1000 on
	for _, test := range []struct {
		name     string
		args     string
		answers  answers
		out      string
		says     string // "": it is done
		before   string // what stderr says before it
		requests int32
	}{
		{"del, nobody leads for a while", "del --prefix k",
			answers{1: unread, 3: nobody, 4: nobody, 6: unread}, "3\n", "", "", 8},
		{"del, another server leads then", "del --prefix k", answers{2: nobody, 4: moved}, "5\n", "", "", 8},
		{"del of a list", "del k1 k2 k3 --batch 2", answers{1: nobody, 3: nobody}, "3\n", "", "", 4},
		{"del, nobody leads", "del --prefix k --timeout 300ms", answers{onward + 4: nobody}, "",
			"no server has led for 300ms: unavailable: no node leads now", "2 keys were deleted before this", 0},
		{"del, one may have been applied", "del --prefix k", answers{4: maybe}, "",
			"unavailable: it may have been applied", "2 keys were deleted before this", 4},
		{"purge, nobody leads for a while", "purge --prefix k", answers{1: nobody, 3: nobody, 4: nobody}, "3\n", "", "", 5},
		{"purge, another server leads then", "purge --prefix k", answers{2: moved}, "5\n", "", "", 4},
		{"purge, nobody leads", "purge --prefix k --timeout 300ms", answers{onward + 2: nobody}, "",
			"no server has led for 300ms: unavailable: no node leads now", "2 versions were erased before this", 0},
		{"purge, one may have been applied", "purge --prefix k", answers{2: maybe}, "",
			"unavailable: it may have been applied", "2 versions were erased before this", 2},
		{"export, nobody can be asked for a while", "export k",
			answers{1: unread, 2: unread, 4: unread}, "k1\tv\nk2\tv\nk3\tv\n", "", "", 5},
		{"export, nobody leads", "export k --timeout 300ms", answers{onward + 2: unread},
			"k1\tv\nk2\tv\n", "no server has led for 300ms: unavailable: no leader, or no majority", "2 records were exported before this", 0},
		{"export, the cursor is another's", "export k", answers{2: moved}, "k1\tv\nk2\tv\n",
			"bad request: stale cursor", "2 records were exported before this", 2},
		{"scan, nobody can be asked for a while", "scan k", answers{1: unread, 3: unread}, "k1\nk2\nk3\n", "", "", 4},
		{"count, nobody can be asked for a while", "count k", answers{1: unread, 3: moved}, "3\n", "", "", 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			var n atomic.Int32
			addr := fakeserver.Start(t, func(conn net.Conn) {
				answering(func(h protocol.Header, body []byte) []byte {
					i := int(n.Add(1))
					for at, refusal := range test.answers {
						if at == i || at > onward && i >= at-onward {
							return protocol.AppendError(nil, h.Opcode, h.ID, refusal)
						}
					}
					return pages(h, body)
				})(conn)
			})
			out, stderr, code := run(map[string]string{"KV_ADDR": addr}, strings.Fields(test.args)...)
			require.Equal(t, test.out, out, stderr)
			if test.says == "" {
				require.Zero(t, code, stderr)
			} else {
				require.Equal(t, 4, code, stderr)
				require.Regexp(t, fmt.Sprintf("(?s)%s.*%s", test.before, test.says), stderr)
			}
			if test.requests > 0 {
				require.Equal(t, test.requests, n.Load(), stderr)
			}
		})
	}
}

// Where the server that led ends while a command of many requests runs, the command goes on at another of those that it
// was given; not where a write may have been applied.
func TestManyRequestsGoOnAtAnotherServer(t *testing.T) {
	ending := &protocol.Error{Status: protocol.StatusUnavailable, Message: "the server is shutting down: nothing was applied"}
	for _, test := range []struct {
		args      string
		served    int32 // by the first server, before it ends
		killed    bool  // it does not say so
		out, says string
		code      int
		requests  int32 // at the other
	}{
		{args: "del --prefix k", served: 1, out: "3\n", requests: 3},
		{args: "del --prefix k", served: 2, out: "3\n", requests: 2},
		{args: "del k1 k2 k3 --batch 1", served: 2, out: "3\n", requests: 1},
		{args: "del k1 k2 k3 --batch 1", served: 2, killed: true, says: "(?s)2 keys were deleted before this.*unknown", code: 5},
		{args: "purge --prefix k", served: 1, out: "3\n", requests: 1},
		{args: "scan k", served: 1, out: "k1\nk2\nk3\n", requests: 1},
		{args: "scan k", served: 1, killed: true, out: "k1\nk2\nk3\n", requests: 1},
		{args: "count k", served: 1, out: "3\n", requests: 1},
		{args: "export k", served: 1, out: "k1\tv\nk2\tv\nk3\tv\n", requests: 1},
	} {
		t.Run(fmt.Sprintf("%s, killed %v", test.args, test.killed), func(t *testing.T) {
			var served, requests atomic.Int32
			first := fakeserver.Start(t, func(conn net.Conn) {
				if served.Load() > 0 { // it has ended
					return
				}
				answering(func(h protocol.Header, body []byte) []byte {
					if h.Opcode == protocol.OpCluster || served.Add(1) <= test.served {
						return pages(h, body)
					}
					if !test.killed {
						conn.Write(protocol.AppendError(nil, 0, 0, ending))
					}
					conn.Close()
					return nil
				})(conn)
			})
			other := fakeserver.Start(t, answering(func(h protocol.Header, body []byte) []byte {
				if h.Opcode != protocol.OpCluster {
					requests.Add(1)
				}
				return pages(h, body)
			}))
			out, stderr, code := run(map[string]string{"KV_ADDR": first + "," + other}, strings.Fields(test.args)...)
			require.Equal(t, test.out, out, stderr)
			require.Equal(t, test.code, code, stderr)
			require.Regexp(t, test.says, stderr)
			require.Equal(t, test.requests, requests.Load())
		})
	}
}
