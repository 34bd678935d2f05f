package netserver_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
)

func hello(user, secret string) []byte {
	return protocol.Hello{Version: 1, User: []byte(user), Secret: []byte(secret)}.AppendTo(nil, 1)
}

// TestRoles: what each role may do, in every request that there is.
func TestRoles(t *testing.T) {
	o := nettest.Options{Config: netserver.Config{Accounts: nettest.Accounts(t, "writer", "rw", "w-secret", "reader", "ro", "r-secret", "head", "admin", "a-secret")}}
	// What is not here is for who may write, new requests too.
	reads := []protocol.Opcode{
		protocol.OpGet, protocol.OpMGet, protocol.OpScan, protocol.OpHistory, protocol.OpStats, protocol.OpPing, protocol.OpBackup,
		protocol.OpCluster, protocol.OpReads,
	}
	var all []protocol.Opcode
	for _, request := range every() {
		all = append(all, protocol.ParseHeader(request).Opcode)
	}
	for op := range protocol.Opcode(255) {
		require.Equal(t, op.Known(), slices.Contains(all, op), "%v", op)
	}
	nettest.Each(t, o, func(t *testing.T, s *nettest.Server) {
		nobody, reader, writer, head := s.Dial(t), s.Dial(t), s.Dial(t), s.Dial(t)
		require.Equal(t, protocol.StatusOK, head.Do(hello("head", "a-secret")).Status())
		require.Equal(t, protocol.StatusOK, reader.Do(hello("reader", "r-secret")).Status())
		require.Equal(t, protocol.StatusOK, writer.Do(hello("writer", "w-secret")).Status())
		for _, request := range every()[1:] {
			op := protocol.ParseHeader(request).Opcode
			require.Equal(t, protocol.StatusUnauthenticated, nobody.Do(request).Status(), "%v", op)
			require.Equal(t, slices.Contains(reads, op), reader.Do(request).Status() != protocol.StatusForbidden, "%v", op)
			require.NotEqual(t, protocol.StatusUnauthenticated, writer.Do(request).Status(), "%v", op)
			require.Equal(t, op == protocol.OpMember, writer.Do(request).Status() == protocol.StatusForbidden, "%v", op)
			require.NotContains(t, []protocol.Status{protocol.StatusForbidden, protocol.StatusUnauthenticated}, head.Do(request).Status(), "%v", op)
		}
		read := protocol.Txn{Ops: []protocol.TxnOp{{Kind: protocol.TxnGet, Key: []byte("a")}}}
		require.Equal(t, protocol.StatusOK, reader.Do(read.AppendTo(nil, 1)).Status())

		// A HELLO that fails takes away what an earlier one gave.
		require.Equal(t, protocol.StatusUnauthenticated, writer.Do(hello("writer", "r-secret")).Status())
		require.Equal(t, protocol.StatusUnauthenticated, writer.Do(ping(1, "")).Status())
		require.Equal(t, protocol.StatusOK, writer.Do(hello("writer", "w-secret")).Status())
		require.Equal(t, protocol.StatusOK, writer.Do(ping(1, "")).Status())
	})
}

// utf16 is text as editors of other systems save it.
func utf16(text string) string {
	var b []byte
	for _, r := range text {
		b = binary.LittleEndian.AppendUint16(b, uint16(r))
	}
	return string(b)
}

// TestAccounts: a file that can't be read whole changes nothing, and the error names the line.
func TestAccounts(t *testing.T) {
	a := nettest.Accounts(t, "anna", "rw", "one")
	s := nettest.Start(t, nettest.Options{Config: netserver.Config{Accounts: a}})
	hash := strings.Repeat("ab", 32)
	for _, tt := range []struct{ file, err string }{
		{"anna:rw:" + hash + "\nbob\n", "line 2"},
		{"\n# comment\nanna:root:" + hash, `line 3: role "root"`},
		{"anna:rw:abcd", "line 1: the secret's hash"},
		{"anna:rw:" + strings.Repeat("zz", 32), "line 1: the secret's hash"},
		{":rw:" + hash, "line 1"},
		{"anna:rw:" + hash + "\nanna:ro:" + hash, `line 2: user "anna" is there twice`},
		{"\ufeffanna:rw:" + hash, "line 1: the text begins with a byte order mark (the bytes EF BB BF): save it as UTF-8 without one"},
		{"anna:rw:" + hash + "\n\ufeffbob:rw:" + hash, "line 2: the text begins with a byte order mark"},
		{"\ufeff# users\nanna:rw:" + hash, "line 1: the text begins with a byte order mark"},
		{utf16("\ufeffanna:rw:" + hash), "line 1: the text is UTF-16 or UTF-32, not UTF-8"},
		{utf16("anna:rw:" + hash), "line 1: the text is UTF-16 or UTF-32, not UTF-8"},
		{"", "no user"},
		{"# nobody yet\n\n", "no user"},
	} {
		require.ErrorContains(t, a.Load(strings.NewReader(tt.file)), tt.err)
	}
	c := s.Dial(t)
	require.Equal(t, protocol.StatusOK, c.Do(hello("anna", "one")).Status())

	line, err := netserver.AccountLine("bob", "ro", []byte("two"))
	require.NoError(t, err)
	require.NoError(t, a.Load(strings.NewReader("# users\n\n  "+line+"  \n")))
	c.ExpectClosed()
	require.Equal(t, protocol.StatusUnauthenticated, s.Dial(t).Do(hello("anna", "one")).Status())
	require.Equal(t, protocol.StatusOK, s.Dial(t).Do(hello("bob", "two")).Status())

	for _, user := range []string{"", "a:b", "a\nb", "#a", " a"} {
		_, err := netserver.AccountLine(user, "rw", nil)
		require.Error(t, err, "%q", user)
	}
	_, err = netserver.AccountLine("a", "root", nil)
	require.ErrorContains(t, err, "ro, rw or admin")
}
