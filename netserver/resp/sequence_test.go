package resp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
)

// sequences are what commands on two keys are made of: each byte of the fuzzer's chooses one.
var sequences = []string{
	"GET a", "SET a 5", "SET a text", "SET a 7 NX", "SET a 8 XX GET", "SET a 9 KEEPTTL", "SET a 1 IFEQ 5", "SETNX a 1", "GETSET a 3", "GETDEL a", "GETEX a PERSIST", "GETEX a PXAT 99999999999999", "GETEX a PXAT 1",
	"APPEND a x", "APPEND a 1", "STRLEN a", "GETRANGE a 0 1", "SETRANGE a 2 zz", "INCR a", "DECRBY a 3", "INCRBYFLOAT a 1.5", "DEL a", "DEL a b", "EXISTS a b a", "TYPE a",
	"PEXPIREAT a 99999999999999", "PEXPIREAT a 99999999999998 LT", "PEXPIREAT a 99999999999999 GT", "EXPIRE a -1", "PEXPIRETIME a", "PERSIST a", "RENAME a b", "RENAMENX a b", "RENAME b a", "COPY a b", "COPY b a REPLACE",
	"MSET a 1 b 2", "MSETNX a 1 b 2", "MSETEX 2 a 1 b 2 XX", "MGET a b", "LCS a b", "DELIFEQ a 5", "DELEX b IFNE 5", "SETBIT a 1 1", "GETBIT a 1", "OBJECT ENCODING a", "DIGEST a", "SET b 6", "GET b", "STRLEN b", "SET a 1 EX 0", "MSET a",
	"PING", "ECHO x", "NONSENSE a",
}

// FuzzCommands runs a sequence of commands one by one, pipelined, and in transactions: the answers are the same.
func FuzzCommands(f *testing.F) {
	f.Add([]byte{0, 1, 18, 20, 0})
	f.Add([]byte{36, 37, 38, 39, 40, 31, 34, 35, 22})
	f.Add([]byte{11, 1, 11, 29, 10, 29, 12, 0})
	all := make([]byte, len(sequences))
	for i := range all {
		all[i] = byte(i)
	}
	f.Add(all)
	s := nettest.Start(f, withDoor(netserver.Config{}))
	c := dial(f, s)
	f.Fuzz(func(t *testing.T, choice []byte) {
		c.t = t
		choice = choice[:min(len(choice), 100)]
		// The keys of each way have their own prefixes.
		command := func(i byte, way string) string {
			fields := words(sequences[int(i)%len(sequences)])
			for j, f := range fields {
				if f == "a" || f == "b" {
					fields[j] = f + way
				}
			}
			return request(fields...)
		}
		read := func(way string) string {
			return strings.NewReplacer("'a"+way+"'", "'a'", "'b"+way+"'", "'b'").Replace(c.next())
		}
		c.do("FLUSHALL")
		var single []string
		for _, i := range choice {
			c.send(command(i, "1"))
			single = append(single, read("1"))
		}
		for _, i := range choice {
			c.send(command(i, "2"))
		}
		for n, i := range choice {
			require.Equal(t, single[n], read("2"), sequences[int(i)%len(sequences)])
		}
		for begin := 0; begin < len(choice); begin += 7 {
			part := choice[begin:min(begin+7, len(choice))]
			require.Equal(t, "OK", c.do("MULTI"))
			var want []string
			for n, i := range part {
				if answer := single[begin+n]; !strings.HasPrefix(answer, "ERR unknown") && !strings.HasPrefix(answer, "ERR wrong number") {
					c.send(command(i, "3")) // the others are refused at once, and EXEC with them
					require.Equal(t, "QUEUED", c.next())
					want = append(want, answer)
				}
			}
			require.Equal(t, "["+strings.Join(want, " ")+"]", c.do("EXEC"), fmt.Sprint(part))
		}
	})
}
