package resp

import (
	"sync/atomic"

	"kv/netserver"
)

// Options are what a server's door for RESP is made of. All may be missing.
type Options struct {
	// Settings are what CONFIG GET answers besides what the server itself knows, by name.
	Settings func() map[string]string
	// Shutdown ends the process as a signal would, some time after it has returned; nil: SHUTDOWN is an error.
	Shutdown func()
}

// Door serves RESP on the connections of a server.
type Door struct {
	options Options
	// expired counts keys that were deleted because a command gave them an expiry that had passed. It publishes nothing.
	expired atomic.Uint64
	// counted are the figures at the last CONFIG RESETSTAT; nil: there was none. They do not change once they are there.
	counted atomic.Pointer[map[string]uint64]
}

// New returns a door.
func New(o Options) *Door { return &Door{options: o} }

// Name is what logs call the protocol.
func (d *Door) Name() string { return "resp" }

// speaks reports whether a connection that begins with these bytes does so as a client of Redis: with an array, or a
// line of text.
func speaks(first []byte) bool { return first[0] >= ' ' && first[0] <= '~' }

// Dismiss is part of netserver.Door: in the words of Redis, by which clients know what to do.
func (d *Door) Dismiss(first []byte, why netserver.Dismissal) []byte {
	switch {
	case !speaks(first):
		return nil
	case why.Loading:
		return []byte("-LOADING " + why.Message + "\r\n")
	}
	return []byte("-ERR max number of clients reached\r\n")
}

// Open takes a connection that begins as a client of Redis does.
func (d *Door) Open(c *netserver.Client, first []byte) netserver.Talk {
	if !speaks(first) {
		return nil
	}
	t := &talk{door: d, client: c, session: c.Session()}
	t.send = t.sendLong
	t.change = t.runCall
	t.changeAll = t.runQueue
	t.accept = t.acceptFound
	t.claimRoom = t.claimMemory
	return t
}
