package nettest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver"
)

// Users returns a file of users, of which each is three arguments: name, role and secret.
func Users(t testing.TB, userRoleSecret ...string) string {
	t.Helper()
	var file strings.Builder
	for ; len(userRoleSecret) > 0; userRoleSecret = userRoleSecret[3:] {
		line, err := netserver.AccountLine(userRoleSecret[0], userRoleSecret[1], []byte(userRoleSecret[2]))
		require.NoError(t, err)
		file.WriteString(line + "\n")
	}
	return file.String()
}

// Accounts returns the accounts of such users.
func Accounts(t testing.TB, userRoleSecret ...string) *netserver.Accounts {
	t.Helper()
	a := new(netserver.Accounts)
	require.NoError(t, a.Load(strings.NewReader(Users(t, userRoleSecret...))))
	return a
}
