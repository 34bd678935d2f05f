package resp_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/netserver/resp"
	"kv/store"
)

// Where the store is one of several, it is looked up how new reads have to be, once for all that has come together and
// again behind a write, in whatever the reads are put; and what can't be done is answered as clients of Redis know it.
func TestReplica(t *testing.T) {
	s, r := nettest.StartReplica(t, withDoor(netserver.Config{}))
	c := dial(t, s)
	c.expect(`SET a 1 => OK`)
	looks := func() (n int) {
		r.Set(func() { n, r.Begun = len(r.Begun), nil })
		return n
	}
	looks()

	// Each command that reads begins with a look, and answers the error of that instead of reading.
	args := map[string]string{
		"getrange": "a 0 1", "substr": "a 0 1", "lcs": "a a", "getbit": "a 1", "scan": "0", "keys": "*", "randomkey": "", "dbsize": "", "object|help": "HELP", "memory|help": "HELP",
	}
	reading := 0
	for _, cmd := range resp.Commands() {
		if cmd.Flags&resp.FlagRead == 0 || len(cmd.Subs) > 0 {
			continue
		}
		reading++
		rest, odd := args[cmd.Name]
		if !odd {
			rest = "a"
		}
		line := strings.ReplaceAll(cmd.Name, "|", " ") + " " + rest
		r.Set(func() { r.Refuse = store.ErrStale })
		require.Contains(t, c.do(line), "MASTERDOWN stale: ", line)
		r.Set(func() { r.Refuse = nil })
		require.Equal(t, 1, looks(), line)
		require.NotContains(t, c.do(line), "MASTERDOWN", line)
		require.Equal(t, 1, looks(), line)
	}
	require.Greater(t, reading, 15)

	c.expect(`
		SET a 1 => OK
		MULTI => OK
		GET a => QUEUED
		DBSIZE => QUEUED`)
	require.Zero(t, looks())
	c.expect(`EXEC => ["1" (1)]`)
	require.Equal(t, 2, looks(), "for GET, and behind the change of keys for DBSIZE")
	c.expect(`WATCH a => OK`)
	require.Equal(t, 1, looks())
	r.Set(func() { r.Refuse = store.ErrStale })
	c.expect(`
		MULTI => OK
		GET a => QUEUED
		EXEC => MASTERDOWN stale: …
		EXEC => ERR EXEC without MULTI
		WATCH a => MASTERDOWN stale: …`)
	r.Set(func() { r.Refuse = store.ErrNoMajority })
	c.expect(`GET a => CLUSTERDOWN no leader, or no majority, …`)
	r.Set(func() { r.Refuse = nil })
	looks()

	// A pipeline sees what it has written.
	c.send(request("SET", "a", "2"), request("GET", "a"), request("GET", "a"), request("INCR", "a"), request("GET", "a"))
	for _, want := range []string{"OK", `"2"`, `"2"`, "(3)", `"3"`} {
		require.Equal(t, want, c.next())
	}
	require.GreaterOrEqual(t, looks(), 2)

	// Without a leader nothing is done, and may be tried again; what may have been done says so, and must not be.
	r.Set(func() { r.Lost = true })
	require.Regexp(t, "^UNKNOWN .*may have been applied", c.do("SET a 4"))
	r.Set(func() { r.Lost = false })
	for _, line := range []string{"SET a 5", "INCR a", "DEL a", "EXPIRE a 100", "MSET a 1 b 2"} {
		require.Regexp(t, "^CLUSTERDOWN .*nothing was applied", c.do(line), line)
	}
	c.expect(`
		MULTI => OK
		SET a 6 => QUEUED
		EXEC => CLUSTERDOWN …`)
	r.Set(func() { r.Lost, r.Leader = false, "10.0.0.2:7070" })
	const elsewhere = "READONLY You can't write against a read only replica: 10.0.0.2:7070 leads."
	for _, line := range []string{"SET a 5", "INCR a", "DEL a", "EXPIRE a 100", "MSET a 1 b 2"} {
		require.Equal(t, elsewhere, c.do(line), line)
	}
	require.Contains(t, c.do("GET a"), `"`, "reads go on")
}

// A pipeline with a transaction in it, across a loss of leadership: what is done is answered so, and what was not
// applied sends to who leads.
func TestATransactionAcrossALossOfLeadership(t *testing.T) {
	s, r := nettest.StartReplica(t, withDoor(netserver.Config{}))
	c := dial(t, s)
	const elsewhere = "READONLY You can't write against a read only replica: 10.0.0.2:7070 leads."
	for _, tt := range []struct {
		loss nettest.Loss
		want []string // to SET, and what is in EXEC; nil: UNKNOWN
	}{
		{nettest.Loss{Survive: 2}, []string{"OK", "QUEUED", "[OK]", "OK", `"2"`}},
		{nettest.Loss{Survive: 0, Known: true}, []string{elsewhere, elsewhere, elsewhere, elsewhere, elsewhere}},
		{nettest.Loss{Survive: 1, Known: true}, nil},
		{nettest.Loss{Survive: 0}, nil},
	} {
		loss := tt.loss
		loss.Leader = "10.0.0.2:7070"
		r.Lead()
		c.expect(`SET a 0 => OK`)
		r.Set(func() { r.Lose = &loss })
		c.send(request("MULTI"), request("SET", "b", "2"), request("EXEC"), request("SET", "a", "1"), request("GET", "b"))
		for i := range 5 {
			got := c.next()
			if tt.want == nil {
				require.Contains(t, got, "UNKNOWN", "%+v: %d", tt.loss, i)
			} else {
				require.Equal(t, tt.want[i], got, "%+v: %d", tt.loss, i)
			}
		}
	}
}

// FLUSHALL is for the server that leads, as other writes are, whatever there is to delete. Where leadership is lost
// between two pages, the answer does not say that nothing was applied.
func TestFlushAtAReplica(t *testing.T) {
	s, r := nettest.StartReplica(t, withDoor(netserver.Config{}))
	c := dial(t, s)
	const elsewhere = "READONLY You can't write against a read only replica: 10.0.0.2:7070 leads."
	for _, line := range []string{"FLUSHALL", "FLUSHDB"} {
		r.Set(func() { r.Refuse = store.ErrNoMajority })
		r.HandOver("")
		require.Equal(t, "CLUSTERDOWN no node leads now: nothing was applied, try again", c.do(line))
		r.Set(func() { r.Leader = "10.0.0.2:7070" })
		require.Equal(t, elsewhere, c.do(line))
		r.Lead()
		r.Set(func() { r.Refuse = nil })
		require.Equal(t, "OK", c.do(line))

		const keys = 20_000 // several pages
		for i := range keys {
			c.send(request("SET", strconv.Itoa(i), ""))
		}
		for range keys {
			require.Equal(t, "OK", c.next())
		}
		r.Set(func() { r.Last = true })
		require.Regexp(t, "^UNKNOWN some of the keys were deleted, then ", c.do(line))
		r.Lead()
		require.Regexp(t, `^\([1-9]\d*\)$`, c.do("DBSIZE"))
		require.Equal(t, "OK", c.do(line))
		require.Equal(t, "(0)", c.do("DBSIZE"))
	}
}
