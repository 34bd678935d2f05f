package resp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/store"
)

// bench is a store on which commands are run one by one, each as a change of its keys, and their answers read.
type bench struct {
	t       *testing.T
	session *store.Session
	resp3   bool
}

func newBench(t *testing.T) *bench {
	s, err := store.Open(store.Options{})
	require.NoError(t, err)
	b := &bench{t: t, session: s.Session()}
	t.Cleanup(func() {
		b.session.Close()
		require.NoError(t, s.Check())
		require.NoError(t, s.Close())
	})
	return b
}

// run runs a line of words and returns the answer as it is sent.
func (b *bench) run(line string) string {
	args, ok := splitWords(nil, []byte(line))
	require.True(b.t, ok, line)
	return b.runArgs(args)
}

func (b *bench) runArgs(args [][]byte) string {
	cmd := find(args)
	require.NotNil(b.t, cmd, "%q", args)
	require.True(b.t, cmd.takes(len(args)), "%q", args)
	r := &reply{resp3: b.resp3}
	keys := cmd.appendKeys(nil, args)
	c := &call{reply: r, cmd: cmd, args: args, limits: limits{bulk: 512 << 20, loggedIn: true}}
	if len(keys) == 0 {
		c.keyspace = snapshot{}
		cmd.run(c)
		return string(r.buf)
	}
	_, err := b.session.Update(keys, func(u *store.Update) error {
		r.buf = r.buf[:0]
		c.keyspace = &change{Update: u}
		cmd.run(c)
		return nil
	})
	require.NoError(b.t, err)
	return string(r.buf)
}

// plain shows a short answer as a person would read it: (1), "text", nil, an error as it is.
func plain(answer string) string {
	head, rest, _ := strings.Cut(answer, "\r\n")
	switch head[0] {
	case ':':
		return "(" + head[1:] + ")"
	case '$':
		if head == "$-1" {
			return "nil"
		}
		return `"` + strings.TrimSuffix(rest, "\r\n") + `"`
	case '_':
		return "nil"
	case '+', '-':
		return head[1:]
	}
	return answer
}

func TestCommandsOnKeys(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines string // a command, "=>" and its answer
	}{
		{"set and get", `
			get a => nil
			set a 1 => OK
			get a => "1"
			SET a "" => OK
			get a => ""
			set a 1 ex 10 px 10 => ERR syntax error
			set a 1 ex => ERR syntax error
			set a 1 keepttl ex 1 => ERR syntax error
			set a 1 nx xx => ERR syntax error
			set a 1 nonsense => ERR syntax error
			set a 1 ex x => ERR value is not an integer or out of range
			set a 1 ex 0 => ERR invalid expire time in 'set' command
			set a 1 px -1 => ERR invalid expire time in 'set' command
			set a 1 ex 10000000000000000 => ERR invalid expire time in 'set' command
			set a 1 px 9223372036854775807 => ERR invalid expire time in 'set' command
			get a => ""`},
		{"set with a condition", `
			set a 1 xx => nil
			set a 1 nx => OK
			set a 2 nx => nil
			set a 2 xx => OK
			set a 3 get => "2"
			set a 4 nx get => "3"
			set b 4 xx get => nil
			get b => nil
			set a 5 ifeq 4 => nil
			set a 5 ifeq 3 => OK
			set a 6 ifeq 9 get => "5"
			set a 6 ifeq 5 nx => ERR syntax error
			set a 6 nx ifeq 5 => ERR syntax error
			set a 6 ifeq => ERR syntax error
			set a 7 ifne 5 => nil
			set a 7 ifne 6 => OK
			set b 1 ifeq 1 => nil
			set b 1 ifne 1 => OK
			digest a => "06eed105b82285fa"
			set a 7 ifdeq 06EED105B82285FA => OK
			set a 8 ifdeq 0000000000000000 => nil
			set a 8 ifdeq zz => ERR must be exactly 16 hexadecimal characters
			set a 8 ifdne 0000000000000000 => OK
			digest nokey => nil`},
		{"what SET leaves of an expiry", `
			set a 1 pxat 99999999999999 => OK
			pexpiretime a => (99999999999999)
			set a 2 keepttl => OK
			pexpiretime a => (99999999999999)
			append a x => (2)
			pexpiretime a => (99999999999999)
			setrange a 0 y => (2)
			pexpiretime a => (99999999999999)
			set a 3 => OK
			pexpiretime a => (-1)
			set a 3 exat 1 => OK
			exists a => (0)
			set a 3 pxat 1 get => nil
			set a 3 => OK
			set a 3 exat 1 get => "3"
			exists a => (0)`},
		{"older forms of SET", `
			setnx a 1 => (1)
			setnx a 2 => (0)
			setex a 100 3 => OK
			ttl a => (100)
			psetex a 100000 4 => OK
			ttl a => (100)
			setex a 0 3 => ERR invalid expire time in 'setex' command
			psetex a -1 3 => ERR invalid expire time in 'psetex' command
			getset a 5 => "4"
			ttl a => (-1)
			getset b 5 => nil
			getdel a => "5"
			getdel a => nil
			substr b 0 0 => "5"`},
		{"getex", `
			getex a => nil
			set a 1 => OK
			getex a => "1"
			getex a ex 100 => "1"
			ttl a => (100)
			getex a => "1"
			ttl a => (100)
			getex a persist => "1"
			ttl a => (-1)
			getex a pxat 99999999999999 => "1"
			pexpiretime a => (99999999999999)
			getex a persist ex 10 => ERR syntax error
			getex a keepttl => ERR syntax error
			getex a ex -1 => ERR invalid expire time in 'getex' command
			getex a exat 1 => "1"
			get a => nil`},
		{"many keys", `
			mset a 1 b 2 a 3 => OK
			get a => "3"
			mset a 1 b => ERR wrong number of arguments for 'mset' command
			msetnx a 1 c 1 => (0)
			exists c => (0)
			msetnx c 1 d 1 c 2 => (1)
			get c => "2"
			exists a b nokey a => (3)
			touch a nokey => (1)
			del a a b nokey => (2)
			unlink c => (1)`},
		{"msetex", `
			msetex 0 a 1 => ERR invalid numkeys value or out of range
			msetex x a 1 => ERR invalid numkeys value or out of range
			msetex 2147483648 a 1 => ERR invalid numkeys value or out of range
			msetex 2147483647 a 1 => ERR syntax error
			msetex 2 a 1 => ERR syntax error
			msetex 1 a 1 b => ERR syntax error
			msetex 1 a 1 ex => ERR syntax error
			msetex 1 a 1 ex 0 => ERR invalid expire time in 'msetex' command
			msetex 1 a 1 nx ex 0 => ERR invalid expire time in 'msetex' command
			msetex 1 nokey 1 xx px x => ERR value is not an integer or out of range
			msetex 1 a 1 get => ERR syntax error
			msetex 2 a 1 b 2 pxat 99999999999999 => (1)
			pexpiretime b => (99999999999999)
			msetex 2 a 1 b 2 keepttl xx => (1)
			pexpiretime b => (99999999999999)
			msetex 2 a 3 c 2 nx => (0)
			msetex 2 a 3 c 2 xx => (0)
			get a => "1"
			exists c => (0)
			msetex 1 a 3 => (1)
			ttl a => (-1)`},
		{"delete if", `
			delifeq a 1 => (0)
			set a 1 => OK
			delifeq a 2 => (0)
			delifeq a 1 => (1)
			delex a => (0)
			set a 1 => OK
			delex a ifne 1 => (0)
			delex a ifne 2 => (1)
			delex a ifne 2 => (0)
			set a 1 => OK
			delex a ifdne 0000000000000000 => (1)
			set a 1 => OK
			delex a if 1 => ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE
			delex a ifeq => ERR wrong number of arguments for 'delex' command
			delex a => (1)`},
		{"ranges", `
			strlen a => (0)
			setrange a 0 "" => (0)
			exists a => (0)
			setrange a 2 foo => (5)
			get a => "` + "\x00\x00" + `foo"
			setrange a 0 "" => (5)
			setrange a -1 x => ERR offset is out of range
			setrange a x x => ERR value is not an integer or out of range
			setrange a 536870911 xy => ERR string exceeds maximum allowed size (proto-max-bulk-len)
			setrange a 9223372036854775807 x => ERR string exceeds maximum allowed size (proto-max-bulk-len)
			set a "Hello World" => OK
			getrange a 0 3 => "Hell"
			getrange a 0 -1 => "Hello World"
			getrange a -4 -1 => "orld"
			getrange a -1 -4 => ""
			getrange a 5 3 => ""
			getrange a 5 5000 => " World"
			getrange a -5000 9223372036854775807 => "Hello World"
			getrange a -9223372036854775808 -9223372036854775808 => "H"
			getrange nokey 0 -1 => ""
			getrange a x 1 => ERR value is not an integer or out of range
			append a ! => (12)
			strlen a => (12)
			append b "" => (0)
			exists b => (1)`},
		{"numbers", `
			incr a => (1)
			incrby a 9223372036854775806 => (9223372036854775807)
			incr a => ERR increment or decrement would overflow
			decrby a 9223372036854775807 => (0)
			decrby a -9223372036854775808 => ERR decrement would overflow
			decr a => (-1)
			incrby a -9223372036854775807 => (-9223372036854775808)
			decr a => ERR increment or decrement would overflow
			incrby a 1.5 => ERR value is not an integer or out of range
			incrby a +1 => ERR value is not an integer or out of range
			incrby a 01 => ERR value is not an integer or out of range
			incrby a -0 => ERR value is not an integer or out of range
			set a " 11" => OK
			incr a => ERR value is not an integer or out of range
			set a 5 ex 100 => OK
			incr a => (6)
			ttl a => (100)`},
		{"fractions", `
			incrbyfloat a 1 => "1"
			incrbyfloat a 0.25 => "1.25"
			incrbyfloat a -1.25 => "0"
			incrbyfloat a 3.0e3 => "3000"
			incrbyfloat a 0x1p-1 => "3000.5"
			set a 17179869184 => OK
			incrbyfloat a 1.5 => "17179869185.5"
			set a 1 => OK
			incrbyfloat a -1.1 => "-0.1"
			set a 5.0e3 => OK
			incrbyfloat a 2.0e2 => "5200"
			incrbyfloat a +inf => ERR increment would produce NaN or Infinity
			incrbyfloat a nan => ERR value is not a valid float
			incrbyfloat a " 1" => ERR value is not a valid float
			incrbyfloat a 1e5000 => ERR value is not a valid float
			incrbyfloat a 1e-5000 => ERR value is not a valid float
			incrbyfloat a 1e-999999999 => ERR value is not a valid float
			incrbyfloat a 1_0 => ERR value is not a valid float
			incrbyfloat a 0b1 => ERR value is not a valid float
			set a x => OK
			incrbyfloat a 1 => ERR value is not a valid float
			set b 3 => OK
			incrbyfloat b 1.000000000000000005 => "4.00000000000000001"
			set c 0 => OK
			incrbyfloat c 0.1 => "0.1"
			incrbyfloat c 0.2 => "0.3"`},
		{"bits", `
			setbit a 1 1 => (0)
			get a => "@"
			getbit a 1 => (1)
			getbit a 0 => (0)
			getbit a 10000 => (0)
			setbit a 1 0 => (1)
			setbit a 4294967296 1 => ERR bit offset is not an integer or out of range
			setbit a -1 1 => ERR bit offset is not an integer or out of range
			setbit a 0 2 => ERR bit is not an integer or out of range
			setbit a 0 -1 => ERR bit is not an integer or out of range
			setbit b 15 0 => (0)
			strlen b => (2)`},
		{"expiry", `
			expire a 10 => (0)
			ttl a => (-2)
			pexpiretime a => (-2)
			set a 1 => OK
			ttl a => (-1)
			persist a => (0)
			expire a 100 => (1)
			ttl a => (100)
			expire a 200 nx => (0)
			expire a 50 gt => (0)
			expire a 200 gt => (1)
			expire a 300 lt => (0)
			expire a 100 xx lt => (1)
			persist a => (1)
			expire a 100 gt => (0)
			expire a 100 xx => (0)
			expire a 100 lt => (1)
			expire a 100 nx xx => ERR NX and XX, GT or LT options at the same time are not compatible
			expire a 100 gt lt => ERR GT and LT options at the same time are not compatible
			expire a 100 zz => ERR Unsupported option zz
			expire a "" => ERR value is not an integer or out of range
			expire a 9223372036854775807 => ERR invalid expire time in 'expire' command
			expire a -9223372036854776 => ERR invalid expire time in 'expire' command
			pexpire a 9223372036854775807 => ERR invalid expire time in 'pexpire' command
			pexpireat a 9223372036854770000 => (1)
			pexpiretime a => (9223372036854770000)
			pexpireat a 9223372036854775807 => (1)
			expiretime a => (9223372036854776)
			expireat a 99999999999 => (1)
			expiretime a => (99999999999)
			pexpireat a -9223372036854770000 => (1)
			exists a => (0)
			set a 1 => OK
			expire a -1 => (1)
			exists a => (0)`},
		{"names", `
			rename a b => ERR no such key
			set a 1 pxat 99999999999999 => OK
			rename a a => OK
			rename a b => OK
			exists a => (0)
			pexpiretime b => (99999999999999)
			set a 2 => OK
			renamenx a b => (0)
			renamenx a c => (1)
			renamenx nokey c => ERR no such key
			copy b c => (0)
			copy b c replace => (1)
			pexpiretime c => (99999999999999)
			copy b b => ERR source and destination objects are the same
			copy nokey d => (0)
			copy b d db 1 => ERR DB index is out of range
			copy b d db 0 => (1)
			copy b d db x => ERR value is not an integer or out of range
			copy b d nonsense => ERR syntax error
			type b => string
			type nokey => none`},
		{"what is inside", `
			object encoding a => nil
			set a 12 => OK
			object encoding a => "int"
			set a 012 => OK
			object encoding a => "embstr"
			set a 0123456789012345678901234567890123456789abcde => OK
			object encoding a => "raw"
			object refcount a => (1)
			object idletime a => (0)
			object freq nokey => nil
			memory usage nokey => nil
			memory usage a => (86)
			memory usage a samples 5 => (86)
			memory usage a samples -1 => ERR syntax error
			memory usage a samples => ERR syntax error`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			for line := range strings.SplitSeq(strings.TrimSpace(c.lines), "\n") {
				typed, want, ok := strings.Cut(strings.TrimSpace(line), " => ")
				require.True(t, ok, line)
				assert.Equal(t, want, plain(b.run(typed)), typed)
			}
		})
	}
}

func TestLongestCommonSubsequence(t *testing.T) {
	b := newBench(t)
	b.run("mset a ohmytext b mynewtext")
	assert.Equal(t, "$6\r\nmytext\r\n", b.run("lcs a b"))
	assert.Equal(t, ":6\r\n", b.run("lcs a b len"))
	assert.Equal(t, "*4\r\n$7\r\nmatches\r\n*2\r\n*2\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n*2\r\n*2\r\n:2\r\n:3\r\n*2\r\n:0\r\n:1\r\n$3\r\nlen\r\n:6\r\n", b.run("lcs a b idx"))
	assert.Equal(t, "*4\r\n$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n$3\r\nlen\r\n:6\r\n",
		b.run("lcs a b idx minmatchlen 4 withmatchlen"))
	assert.Equal(t, "$0\r\n\r\n", b.run("lcs a nokey"))
	assert.Equal(t, "-ERR syntax error\r\n", b.run("lcs a b nonsense"))
	b.resp3 = true
	assert.Equal(t, "%2\r\n$7\r\nmatches\r\n*0\r\n$3\r\nlen\r\n:0\r\n", b.run("lcs a nokey idx"))
	b.run("setbit big 80000000 1")
	assert.Contains(t, b.run("lcs big big"), "Insufficient memory")
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"*", "abc", true}, {"", "", true}, {"", "a", false}, {"a?c", "abc", true}, {"a?c", "ac", false},
		{"a*c", "abbbc", true}, {"a*c", "abbbd", false}, {"**a**", "xxaxx", true}, {"a*b*c", "aXbYc", true}, {"a*b*c", "aXcYb", false},
		{"[abc]", "b", true}, {"[abc]", "d", false}, {"[^abc]", "d", true}, {"[^abc]", "a", false}, {"[a-c]x", "bx", true}, {"[c-a]x", "bx", true},
		{"[a-c", "b", true}, {"[", "[", false}, {"[\\]]", "]", true}, {"\\*", "*", true}, {"\\*", "a", false}, {"\\", "\\", true}, {"key:1??", "key:123", true},
		{"[^]", "a", true}, {"h[\\^e]llo", "h^llo", true}, {"a", "ab", false}, {"*a", "ba", true}, {"*[0-9]", "a5", true},
		{strings.Repeat("a*", 50) + "b", strings.Repeat("a", 5000), false},
	} {
		assert.Equal(t, c.want, globMatch([]byte(c.pattern), []byte(c.s)), "%.40q %.40q", c.pattern, c.s)
	}
}

func TestNumbersAreReadAsRedisReadsThem(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "-1": -1, "9223372036854775807": 1<<63 - 1,
		"-9223372036854775808": -1 << 63, "10": 10} {
		n, ok := parseInt([]byte(in))
		assert.True(t, ok, in)
		assert.Equal(t, want, n)
	}
	for _, in := range []string{"", "-", "+1", "01", "-0", "-01", " 1", "1 ", "1.0", "9223372036854775808",
		"-9223372036854775809", "18446744073709551616", "99999999999999999999", "a"} {
		_, ok := parseInt([]byte(in))
		assert.False(t, ok, in)
	}
}
