package netserver_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
	"kv/store"
	"kv/store/wal"
	"kv/store/wal/backup"
)

// backupServer starts a server with so much in it that a backup has many chunks.
func backupServer(t *testing.T, secured bool, a *netserver.Accounts) *nettest.Server {
	memory := wal.NewMemory()
	b := backup.NewChunks(memory, 1000, time.Hour)
	t.Cleanup(b.Close)
	s := nettest.Start(t, nettest.Options{TLS: secured, Store: store.Options{Journal: memory}, Config: netserver.Config{Backups: b, Accounts: a}})
	memory.Attach(s.Store)
	session := s.Store.Session()
	defer session.Close()
	for i := range 100 {
		_, err := session.Set(fmt.Append(nil, i), make([]byte, 10_000), store.SetOptions{})
		require.NoError(t, err)
	}
	return s
}

// pull asks for a chunk of a backup.
func pull(t *testing.T, c *nettest.Conn, handle uint64) (status protocol.Status, next uint64) {
	t.Helper()
	f := c.Do(protocol.Backup{Handle: handle}.AppendTo(nil, 1))
	if f.Status() != protocol.StatusOK {
		return f.Status(), 0
	}
	p, err := protocol.ParseBackupResponse(f.Body)
	require.NoError(t, err)
	return f.Status(), p.Handle
}

// TestBackupEndsWithItsConnection: a backup is its connection's alone, and ends with it, or when another is begun on it.
func TestBackupEndsWithItsConnection(t *testing.T) {
	for _, secured := range []bool{false, true} {
		s := backupServer(t, secured, nil)
		other := s.Dial(t)
		for range 10 { // more than there are slots for
			c := s.Dial(t)
			status, handle := pull(t, c, 0)
			require.Equal(t, protocol.StatusOK, status)
			status, handle = pull(t, c, handle)
			require.Equal(t, protocol.StatusOK, status)
			status, _ = pull(t, other, handle)
			require.Equal(t, protocol.StatusBadRequest, status, "another connection's handle")
			c.Abort()
			s.AwaitConnections(1)
		}
		c := s.Dial(t)
		var handle uint64
		for range 10 {
			before := handle
			var status protocol.Status
			status, handle = pull(t, c, 0)
			require.Equal(t, protocol.StatusOK, status)
			if before != 0 {
				status, _ = pull(t, c, before)
				require.Equal(t, protocol.StatusBadRequest, status, "a backup that was given up for another")
			}
		}
		for handle != 0 {
			var status protocol.Status
			status, handle = pull(t, c, handle)
			require.Equal(t, protocol.StatusOK, status)
		}
	}
}

// TestBackupOfUsers: a user has one backup at a time, and so does not keep others from theirs.
func TestBackupOfUsers(t *testing.T) {
	s := backupServer(t, false, nettest.Accounts(t, "anna", "ro", "a", "bob", "rw", "b"))
	login := func(user, secret string) *nettest.Conn {
		c := s.Dial(t)
		require.Equal(t, protocol.StatusOK, c.Do(hello(user, secret)).Status())
		return c
	}
	anna := login("anna", "a")
	status, held := pull(t, anna, 0)
	require.Equal(t, protocol.StatusOK, status)
	for range 10 {
		again := login("anna", "a")
		f := again.Do(protocol.Backup{}.AppendTo(nil, 1))
		require.Equal(t, protocol.StatusUnavailable, f.Status())
		require.Contains(t, string(f.Body), "anna has one")
	}
	status, handle := pull(t, login("bob", "b"), 0)
	require.Equal(t, protocol.StatusOK, status)
	require.NotZero(t, handle)
	status, _ = pull(t, anna, held)
	require.Equal(t, protocol.StatusOK, status)
}
