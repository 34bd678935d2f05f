package resp_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"kv/netserver"
	"kv/netserver/nettest"
)

func TestConnectionsAreDescribed(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{}))
	c := dial(t, s)
	c.expect(`
		CLIENT ID => (1)
		CLIENT SETNAME me => OK
		CLIENT SETINFO LIB-NAME lib => OK
		CLIENT SETINFO LIB-VER 1.2 => OK
		CLIENT SETINFO NONSENSE 1.2 => ERR Unrecognized option 'NONSENSE'
		CLIENT NO-EVICT on => OK
		CLIENT NO-TOUCH off => OK
		CLIENT NO-TOUCH x => ERR syntax error
		WATCH a b => OK
		CLIENT LIST ID x => ERR Invalid client ID
		CLIENT LIST NONSENSE => ERR syntax error
		CLIENT LIST TYPE pubsub => ""
		CLIENT LIST ID 99 => ""`)
	c.send(request("CLIENT", "SETNAME", "a b"))
	assert.Equal(t, "ERR Client names cannot contain spaces, newlines or special characters.", c.next())
	info := c.do("CLIENT INFO")
	for _, part := range []string{"id=1 ", " addr=127.0.0.1:", " name=me ", " watch=2 ", " multi=-1 ", " user=default ",
		" resp=2 ", " lib-name=lib ", " lib-ver=1.2 ", " cmd=client|info "} {
		assert.Contains(t, info, part)
	}
	d := dial(t, s)
	d.do("PING")
	assert.Equal(t, 2, strings.Count(d.do("CLIENT LIST"), "id="))
}

func TestTheServerIsDescribed(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{Limit: 1 << 20}))
	c := dial(t, s)
	c.do("SET a 1")
	c.do("GET a")
	c.do("GET nokey")
	c.do("SET b 1 EX 100")
	info := c.do("INFO")
	for _, part := range []string{
		"# Server\r\n", "redis_version:7.4.0\r\n", "server_name:kv\r\n", "connected_clients:1\r\n", "keyspace_hits:1\r\n", "keyspace_misses:1\r\n", "db0:keys=2,expires=1,avg_ttl=0\r\n", "role:master\r\n",
		"total_commands_processed:", "used_memory:", "aof_enabled:0", "loading:0",
	} {
		assert.Contains(t, info, part)
	}
	assert.Contains(t, c.do("INFO keyspace"), "# Keyspace")
	assert.NotContains(t, c.do("INFO keyspace"), "# Server")
	c.expect(`
		CONFIG GET proto-max-bulk-len => ["proto-max-bulk-len" "1048576"]
		CONFIG GET MAXMEMORY* => ["maxmemory" "0" "maxmemory-policy" "noeviction"]
		CONFIG GET nonsense => []
		CONFIG SET requirepass => ERR wrong number of arguments for 'config|set' command
		CONFIG SET maxmemory 0 => OK
		CONFIG SET nonsense 0 => ERR Unknown option or number of arguments for CONFIG SET - 'nonsense'
		CONFIG REWRITE => ERR The server is running without a config file
		SET a 1 => OK
		PEXPIREAT a 1 => (1)
		CONFIG RESETSTAT => OK`)
	assert.Contains(t, c.do("INFO stats"), "keyspace_hits:0\r\n")
	assert.Contains(t, c.do("INFO stats"), "expired_keys:0\r\n")
	c.do("SET a 1")
	c.do("EXPIRE a -1")
	assert.Contains(t, c.do("INFO stats"), "expired_keys:1\r\n")
}

func TestCommandsAreDescribed(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{}))
	c := dial(t, s)
	c.expect(`
		COMMAND INFO get nonsense => [["get" (2) [readonly fast] (1) (1) (1) [@string @read @fast] [] [] []] nil]
		COMMAND DOCS get => ["get" ["summary" "Answers a key's value." "since" "1.0.0" "group" "string"]]
		COMMAND DOCS nonsense => []
		COMMAND GETKEYS MSET a 1 b 2 => ["a" "b"]
		COMMAND GETKEYS MSETEX 2 a 1 b 2 EX 10 => ["a" "b"]
		COMMAND GETKEYS LCS a b LEN => ["a" "b"]
		COMMAND GETKEYS OBJECT ENCODING a => ["a"]
		COMMAND GETKEYS PING => ERR The command has no key arguments
		COMMAND GETKEYS NONSENSE => ERR Invalid command specified
		COMMAND GETKEYS MSET a => ERR Invalid number of arguments specified for command
		COMMAND LIST FILTERBY PATTERN get* => …
		COMMAND LIST NONSENSE => ERR syntax error
		COMMAND COUNT => …`)
	assert.True(t, strings.HasPrefix(c.do("COMMAND"), "[["))
	assert.Contains(t, c.do("COMMAND DOCS client"), `"client|id"`)
	assert.Contains(t, c.do("CLIENT HELP"), "SETNAME")
	assert.Contains(t, c.do("OBJECT HELP"), "ENCODING")
}
