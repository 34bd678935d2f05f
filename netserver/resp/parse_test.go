package resp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var everything = limits{bulk: 1 << 20, loggedIn: true}

// array is a request as clients send it.
func array(args ...string) string {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	return string(b)
}

func TestRequestsAreCutIntoArguments(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{array("PING"), []string{"PING"}},
		{array("GET", "key"), []string{"GET", "key"}},
		{array("SET", "", "a\r\nb\x00"), []string{"SET", "", "a\r\nb\x00"}},
		{array("SET", "k", strings.Repeat("v", 12345)), []string{"SET", "k", strings.Repeat("v", 12345)}},
		{array(strings.Split(strings.Repeat("a,", 200), ",")...), strings.Split(strings.Repeat("a,", 200), ",")},
		{"*0\r\n", nil},
		{"*-1\r\n", nil},
		{"*1\r\n$4\r\nPING\r\n", []string{"PING"}},
		{"\r\n", nil},
		{"\n", nil},
		{"PING\r\n", []string{"PING"}},
		{"PING\n", []string{"PING"}},
		{"  GET \t key  \r\n", []string{"GET", "key"}},
		{`SET "a b" "\x41\n\r\t\a\b\"\\\q"` + "\r\n", []string{"SET", "a b", "A\n\r\t\a\b\"\\q"}},
		{`SET 'a "b\'' x'y z'` + "\r\n", []string{"SET", `a "b'`, "xy z"}},
		{`SET "\xZZ" ""` + "\r\n", []string{"SET", "xZZ", ""}},
		{"SET k\x00ey value\r\n", []string{"SET", "k"}}, // it ends as a string of C does
		{"SET \x00 value\r\n", []string{"SET"}},
		{"SET \"k\"\x00 value\r\n", []string{"SET", "k"}},
	} {
		args, used, err := parse(nil, []byte(c.in+"*1"), everything)
		require.NoError(t, err, "%q", c.in)
		assert.Equal(t, len(c.in), used, "%q", c.in)
		var got []string
		for _, a := range args {
			got = append(got, string(a))
		}
		assert.Equal(t, c.want, got, "%q", c.in)
	}
}

// TestRequestsComeInPieces: cut at every byte, a request is whole only at its end, and what is said to be missing before is.
func TestRequestsComeInPieces(t *testing.T) {
	for _, in := range []string{
		array("GET", "key"), array("SET", "", strings.Repeat("v", 100)), "PING a\r\n", "*0\r\n", array(strings.Split(strings.Repeat("a,", 150), ",")...),
	} {
		var g progress
		for n := range len(in) {
			_, used, err := parse(nil, []byte(in[:n]), everything)
			require.NoError(t, err)
			require.Zero(t, used, "%q", in[:n])
			whole, err := g.advance([]byte(in[:n]), everything)
			require.NoError(t, err)
			require.False(t, whole, "%q", in[:n])
			require.Greater(t, g.need(n), n, "%q", in[:n])
			require.LessOrEqual(t, g.need(n), len(in), "%q", in[:n])
		}
		whole, err := g.advance([]byte(in+"*3"), everything)
		require.NoError(t, err)
		assert.True(t, whole)
		assert.Equal(t, len(in), g.at)
	}
}

func TestWhatCantBeARequest(t *testing.T) {
	outside := limits{bulk: 1 << 20}
	for _, c := range []struct {
		in   string
		l    limits
		want string
	}{
		{"*2147483648\r\n", everything, "invalid multibulk length"},
		{"*99999999999999999999\r\n", everything, "invalid multibulk length"},
		{"*blabla\r\n", everything, "invalid multibulk length"},
		{"*1x\r\n", everything, "invalid multibulk length"},
		{"*\r\n", everything, "invalid multibulk length"},
		{"*01\r\n", everything, "invalid multibulk length"},
		{"*1\n$4\r\nPING\r\n", everything, "invalid multibulk length"},
		{"*11\r\n", outside, "unauthenticated multibulk length"},
		{"*1000000\r\n", outside, "unauthenticated multibulk length"},
		{"*1\r\n$2147483647\r\n", everything, "invalid bulk length"},
		{"*1\r\n$1048577\r\n", everything, "invalid bulk length"},
		{"*1\r\n$-1\r\n", everything, "invalid bulk length"},
		{"*1\r\n$x\r\n", everything, "invalid bulk length"},
		{"*1\r\n$\r\n", everything, "invalid bulk length"},
		{"*1\r\n$16385\r\n", outside, "unauthenticated bulk length"},
		{"*1\r\nPING\r\n", everything, "expected '$', got 'P'"},
		{"*1\r\n\x01\r\n", everything, "expected '$', got '?'"},
		{"*1\r\n$4\r\nPINGx\r\n", everything, "a bulk string is longer than its length says"},
		{"SET \"a\r\n", everything, "unbalanced quotes in request"},
		{"SET \"a\"b\r\n", everything, "unbalanced quotes in request"},
		{"SET 'a\r\n", everything, "unbalanced quotes in request"},
		{strings.Repeat("a", maxLine+1), everything, "too big inline request"},
		{"*" + strings.Repeat("1", maxLine+1), everything, "too big mbulk count string"},
		{"*1\r\n$" + strings.Repeat("1", maxLine+1), everything, "too big bulk count string"},
		{"*1\r\n" + strings.Repeat("1", maxLine+1), everything, "too big bulk count string"},
	} {
		_, used, err := parse(nil, []byte(c.in), c.l)
		require.EqualError(t, err, "Protocol error: "+c.want, "%.40q", c.in)
		assert.Zero(t, used)
		if strings.Contains(c.want, "quotes") || strings.Contains(c.want, "longer") {
			continue // a thing of the whole request
		}
		var g progress
		_, err = g.advance([]byte(c.in), c.l)
		assert.EqualError(t, err, "Protocol error: "+c.want, "%.40q", c.in)
	}
}

func TestBeforeALoginALittleIsTaken(t *testing.T) {
	l := limits{bulk: 1 << 20}
	_, used, err := parse(nil, []byte(array("AUTH", "user", strings.Repeat("s", loginBulk))), l)
	require.NoError(t, err)
	assert.NotZero(t, used)
	_, used, err = parse(nil, []byte(array("1", "2", "3", "4", "5", "6", "7", "8", "9", "10")), l)
	require.NoError(t, err)
	assert.NotZero(t, used)
}

// TestClaimedLengthsTakeNoMemory: what a client only says it will send costs nothing.
func TestClaimedLengthsTakeNoMemory(t *testing.T) {
	in := []byte("*2147483647\r\n$1048576\r\nabc")
	args := make([][]byte, 0, 16)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		var g progress
		_, _ = g.advance(in, everything)
		_, _, _ = parse(args, in, everything)
	}))
}

func TestOrdinaryRequestsTakeNoMemory(t *testing.T) {
	in := []byte(array("SET", "key:000012345678", strings.Repeat("v", 32), "EX", "100"))
	args := make([][]byte, 0, 16)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _, _ = parse(args, in, everything) }))
}

func TestARequestIsThrownAwayAsItComes(t *testing.T) {
	in := []byte(array("MSET", "a", strings.Repeat("1", 1000), "b", strings.Repeat("2", 1000)))
	for _, piece := range []int{1, 7, 500, 10_000} {
		var g progress
		left, begin := []byte(nil), 0
		for at := 0; ; {
			end := min(at+piece, len(in))
			left = append(left, in[at:end]...)
			at = end
			whole, err := g.advance(left, everything)
			require.NoError(t, err)
			if whole {
				begin += g.at
				break
			}
			n := min(g.at, len(left))
			left, begin = left[n:], begin+n
			g.skip(n)
			require.Less(t, len(left), 10, "more than an unfinished line is kept")
			require.Less(t, at, len(in))
		}
		assert.Equal(t, len(in), begin)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		array("GET", "key"), array("SET", "k", "v", "EX", "10") + array("GET", "k"), "PING\r\n", "*0\r\n", "*-1\r\n", "*1\r\n$-1\r\n", "*3\r\n$3\r\nSET\r\n", "SET \"a\\x41\" 'b'\r\n", "*1000000\r\n$2147483647\r\n",
		"*11\r\n", "*1\r\n$16385\r\n",
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, loggedIn bool) {
		l := limits{bulk: 1 << 16, loggedIn: loggedIn}
		args, used, err := parse(nil, in, l)
		var g progress
		whole, err2 := g.advance(in, l)
		switch {
		case err2 != nil:
			require.Error(t, err)
		case err == nil:
			require.Equal(t, used > 0, whole)
			if whole {
				require.Equal(t, used, g.at)
			} else {
				require.Greater(t, g.need(len(in)), len(in))
			}
		}
		if used == 0 {
			require.Empty(t, args)
			return
		}
		// What was read, written and read again is the same.
		words := make([]string, len(args))
		for i, a := range args {
			words[i] = string(a)
			if !loggedIn && (len(a) > loginBulk || len(args) > loginArgs) {
				return // an inline request may be longer than an array
			}
		}
		again, _, err := parse(nil, []byte(array(words...)), limits{bulk: 1 << 20, loggedIn: true})
		require.NoError(t, err)
		require.Len(t, again, len(args))
		for i := range args {
			require.True(t, bytes.Equal(args[i], again[i]))
		}
		// Byte by byte it is the same.
		var slow progress
		for n := range used {
			whole, err := slow.advance(in[:n], l)
			require.NoError(t, err)
			require.False(t, whole)
		}
		whole, err = slow.advance(in[:used], l)
		require.NoError(t, err)
		require.True(t, whole)
	})
}

func BenchmarkParse(b *testing.B) {
	in := []byte(array("GET", "key:000012345678"))
	args := make([][]byte, 0, 16)
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = parse(args, in, everything)
	}
}
