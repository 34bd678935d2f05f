package repl_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"kv/protocol"
	"kv/protocol/fakeserver"
)

// What a server says can't look as if it were ours: it stays on its line, and nothing in it moves the cursor.
func TestAServersWordsStayOnTheirLine(t *testing.T) {
	const evil = "no\nkvc: all is well\r\x1b[2J\x9b\u2028\u202e\x00é"
	addr := fakeserver.Start(t, answering(func(h protocol.Header, _ []byte) []byte {
		if h.Opcode == protocol.OpStats {
			return protocol.AppendStats(nil, h.ID, []protocol.Stat{{Name: evil, Value: 1}})
		}
		return protocol.AppendError(nil, h.Opcode, h.ID, &protocol.Error{Status: protocol.StatusInternal, Message: evil})
	}))
	const shown = `no\nkvc: all is well\x0d\x1b[2J\x9b\xe2\x80\xa8\xe2\x80\xae\x00é`
	for _, args := range [][]string{{"get", "a"}, {"set", "a", "1"}, {"scan"}, {"ping"}, {"del", "a"}, {"history", "a"}} {
		stdout, stderr, code := run(map[string]string{"KV_ADDR": addr}, args...)
		assert.Equal(t, 4, code)
		assert.Empty(t, stdout)
		assert.Equal(t, "kvc: internal error: "+shown+"\n", stderr)
	}
	stdout, _, code := run(map[string]string{"KV_ADDR": addr}, "stats")
	assert.Zero(t, code)
	assert.Equal(t, shown+" 1\n", stdout)
}

func TestUnknownVariables(t *testing.T) {
	for variable, says := range map[string]string{
		"KV_ADRR":                       "kvc: warning: the environment variable KV_ADRR is ignored; is KV_ADDR meant?\n",
		"KV_TLSCA":                      "kvc: warning: the environment variable KV_TLSCA is ignored; is KV_TLS_CA meant?\n",
		"KV_SECRETS":                    "kvc: warning: the environment variable KV_SECRETS is ignored; is KV_SECRET meant?\n",
		"KV_A\nkvc: OK":                 "kvc: warning: the environment variable KV_A\\nkvc: OK is ignored: no option has that name, see kvc help options\n",
		"KV_SECRET":                     "",
		"KV_TIMEOUT":                    "",
		"KVD_ADDR":                      "",
		"kv_addr":                       "",
		"KV_PORT":                       "",
		"KV_PORT_7070_TCP":              "",
		"KV_SERVICE_PORT_MAIN":          "",
		"KV_REPLICA_SERVICE_HOST":       "",
		"KV_REPLICA_PORT_7070_TCP_ADDR": "",
	} {
		_, stderr, code := run(map[string]string{variable: "1s"}, "help")
		assert.Zero(t, code)
		assert.Equal(t, says, stderr)
	}
	_, stderr, _ := run(map[string]string{"KV_ADRR": "1"}, "__complete", "g")
	assert.Empty(t, stderr, "completion speaks to nobody")
}

// What is wrong is shown in part where it is long, and in no way that moves the cursor.
func TestAWrongWordIsShownInPart(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for _, args := range [][]string{{long}, {"--" + long}, {"set", "a", "b", "--ttl", long}, {"incr", "a", long},
		{"help", long}, {"get", "a", "--version", long}, {"context", "add", "-" + long}} {
		_, stderr, code := run(nil, args...)
		assert.Equal(t, 2, code)
		assert.Less(t, len(stderr), 5000)
		assert.Contains(t, stderr, "xxxx")
		assert.Contains(t, stderr, "…")
	}
	_, stderr, _ := run(nil, "F\x9b\x1bo")
	assert.Equal(t, `kvc: unknown command "F\x9b\x1bo" (help lists all)`+"\n", stderr)
}
