package netserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"kv/protocol"
	"kv/store"
)

// Client is a client of a Server: the other end of a connection, or of an HTTP request. Every door works with it: it knows who
// the client is and what he may do, his store.Session, and how much memory he takes, and counts what he does. It is one
// goroutine's at a time.
type Client struct {
	// Fixed before anybody uses it.
	server  *Server
	id      uint64
	since   time.Duration // when, as Server.age has it, it came
	remote  net.Addr
	link    link
	latency *latency // one of the server's

	session   *store.Session
	readMode  store.ReadMode // see SetReads
	login     *login         // who has logged in; nil: nobody, or nobody has to
	loginBy   time.Duration  // when, as Server.age has it, somebody must have; 0: nobody has to any more
	limit     uint32         // the longest request that is kept, not read away
	wrong     uint8          // how many logins have failed, as far as it can count
	barred    bool           // no further login is waited for
	access    Access
	backingUp uint64 // the handle that the client's backup goes on with; 0: there is none
	claimed   int64  // of the server's request memory, by Claim

	// held is how many bytes of the server's output memory the client has. The client's goroutine stores it, anyone loads it;
	// it publishes nothing.
	held atomic.Int64
	// waiting is the time, in Unix nanoseconds, since which the client has let the present write wait, less what it has made
	// good by taking some; 0: there is no write. began is the time at which the first write of the present answer began; 0:
	// there is none. The client's goroutine stores them, anyone loads them; they publish nothing.
	waiting, began atomic.Int64
	// cutOff is stored before the client is cut off for want of memory, so that its goroutine knows why its link broke.
	cutOff atomic.Bool
}

// link is what connects a client.
type link interface {
	// cut breaks it off. It waits for nothing, and may be called by anyone.
	cut()
}

// enter makes c a client of s.
func (c *Client) enter(s *Server, remote net.Addr, l link) {
	c.server, c.remote, c.link, c.since, c.limit = s, remote, l, s.age(), s.config.Limit
	if s.config.Accounts == nil {
		c.access = AccessAdmin
	} else {
		c.Logout()
	}
}

// Server returns the server that serves c.
func (c *Client) Server() *Server { return c.server }

// ID returns a number that no other client of the server has or had.
func (c *Client) ID() uint64 { return c.id }

// Remote returns the client's address.
func (c *Client) Remote() string { return c.remote.String() }

// Session returns the client's session of the store. It ends with the client.
func (c *Client) Session() *store.Session { return c.session }

// Flush waits until all that the client was told can't be taken back: see [store.Session.Flush]. No answer leaves before it. On a
// connection, Output.Flush does it.
func (c *Client) Flush() error { return c.session.Flush() }

// Claim takes n bytes of Config.RequestMemory for a request. It waits for nothing; the error is a *protocol.Error that says
// OUT_OF_MEMORY. What is claimed is claimed before it is allocated.
func (c *Client) Claim(n int) error {
	if _, ok := c.server.claim(n); !ok {
		return errNoRoom
	}
	c.claimed += int64(n)
	return nil
}

// Release gives back n bytes that were claimed.
func (c *Client) Release(n int) {
	c.claimed -= int64(n)
	c.server.release(claim(n))
}

// Grow returns a longer buffer that begins with what is in buf, for a request of size bytes of which more is to come;
// nil for one of which nothing has. It is claimed, and buf is given back. It ends with GiveBuffer. The error is that of
// Claim, and buf as it was.
func (c *Client) Grow(buf []byte, size int) ([]byte, error) {
	next := nextBuffer(size, len(buf))
	if err := c.Claim(next); err != nil {
		return buf, err
	}
	longer := append(takeBuffer(next), buf...)
	c.GiveBuffer(buf)
	return longer, nil
}

// GiveBuffer takes back what Grow returned, with whatever is in it; nil is nothing.
func (c *Client) GiveBuffer(buf []byte) {
	if buf != nil {
		c.Release(cap(buf))
		giveBuffer(buf)
	}
}

// Hold takes n bytes of Config.OutputMemory for an answer, which has them until it is sent. If they are not there it waits, for
// a few seconds and until ctx ends. The error is a *protocol.Error: TOO_LARGE, if the client may never have so much, or
// OUT_OF_MEMORY. On a connection, Output.Hold does it.
func (c *Client) Hold(ctx context.Context, what string, n int64) error {
	if limit := c.server.config.ClientOutput; c.held.Load()+n > limit {
		return tooMuchOutput(what, c.held.Load()+n, limit)
	}
	if !c.hold(ctx, n, c.server.config.patience) {
		return errNoOutput
	}
	return nil
}

// LetGo gives back n bytes that were held.
func (c *Client) LetGo(n int64) { c.letGo(n) }

// Sending says that an answer is on its way, or is no more: while it is, a client that holds output memory and is the slowest
// to take it may be cut off. On a connection it is known without.
func (c *Client) Sending(on bool) {
	var since int64
	if on {
		since = time.Now().UnixNano()
	}
	c.waiting.Store(since)
	c.began.Store(since)
}

// Answered counts a request that took so long and was answered with this status. On a connection, Output does it.
func (c *Client) Answered(status protocol.Status, took time.Duration) {
	c.latency.add(1, took)
	c.server.count(status)
}

// Stats returns the figures of STATS, with all that this client has done.
func (c *Client) Stats() []protocol.Stat { return c.server.figures(c.session.Stats()) }

// Snapshot writes a snapshot, waits until it is durable, and says which version it reaches and how many bytes it has.
// The error is a *protocol.Error.
func (c *Client) Snapshot() (version uint64, size int64, err error) {
	s := c.server.config.Snapshots
	if s == nil {
		return 0, 0, refusalf(protocol.StatusUnavailable, "the server has no data folder")
	}
	version, size, err = s.Snapshot(c.server.context)
	return version, size, unavailable(err)
}

// usualChunk is at least what a chunk of a backup takes, as a rule.
const usualChunk = 1<<20 + 64

// Backup returns the next chunk of the client's backup and the handle to continue with, 0 after the last chunk. With
// handle 0 it begins one, and gives up another that it has not finished. A chunk, of about 1 MiB, is lost if it is not
// sent, and the backup with it: so what it takes is held before. The error is a *protocol.Error.
func (c *Client) Backup(handle uint64) (next uint64, chunk []byte, err error) {
	if err := c.canBackup(handle); err != nil {
		return 0, nil, err
	}
	c.backingUp = 0
	next, chunk, err = c.server.config.Backups.Backup(c.User(), handle)
	if err != nil {
		return 0, nil, unavailable(err)
	}
	c.backingUp = next
	return next, chunk, nil
}

// canBackup gives up another backup than the one with this handle, and returns why that can't go on.
func (c *Client) canBackup(handle uint64) error {
	switch {
	case c.server.config.Backups == nil:
		return refusalf(protocol.StatusUnavailable, "the server makes no backups")
	case handle == 0:
		c.endBackup() // one that was begun here before and never finished
	case handle != c.backingUp:
		return refusalf(protocol.StatusBadRequest, "no backup of this connection has that handle")
	}
	return nil
}

// endBackup gives up the backup that the client has begun and not finished, if any.
func (c *Client) endBackup() {
	if c.backingUp != 0 {
		c.server.config.Backups.End(c.backingUp)
		c.backingUp = 0
	}
}

// hold takes n bytes of output memory for the client. If they are not there it waits, for so long or, if that is 0,
// until the server is cut off; and returns false if they did not come.
func (c *Client) hold(ctx context.Context, n int64, patience time.Duration) bool {
	s := c.server
	if !s.output.take(n) && !s.awaitOutput(ctx, n, patience) {
		return false
	}
	c.held.Store(c.held.Load() + n)
	return true
}

// tryHold is hold without waiting.
func (c *Client) tryHold(n int64) bool {
	if !c.server.output.take(n) {
		return false
	}
	c.held.Store(c.held.Load() + n)
	return true
}

// letGo gives back n bytes that the client holds.
func (c *Client) letGo(n int64) {
	if n != 0 {
		c.held.Store(c.held.Load() - n)
		c.server.output.give(n)
	}
}

// giveBack gives back all that the client has.
func (c *Client) giveBack() {
	c.endBackup()
	c.server.release(claim(c.claimed))
	c.claimed = 0
}

// Enter makes a client that has no connection of its own: the sender of an HTTP request. remote is his address; cut
// breaks off his connection, from any goroutine. Shutdown waits until the client has called Leave; once it was called,
// the error is ErrServerClosed.
func (s *Server) Enter(remote string, cut func()) (*Client, error) {
	c := new(Client)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return nil, ErrServerClosed
	}
	s.enlist(c)
	c.enter(s, address(remote), cutter(cut))
	if n := len(s.sessions); n > 0 {
		c.session, s.sessions = s.sessions[n-1], s.sessions[:n-1]
	} else {
		c.session = s.config.Store.Session()
	}
	s.entered[c] = struct{}{}
	s.active.Add(1)
	return c, nil
}

// keepSessions is how many sessions of clients that have left are kept for others.
const keepSessions = 64

// Leave ends a client that has entered. What it has not given back goes with it.
func (c *Client) Leave() {
	c.giveBack()
	c.letGo(c.held.Load())
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entered, c)
	if len(s.sessions) < keepSessions && !s.draining.Load() {
		c.session.Reset() // who has it next is another
		s.sessions = append(s.sessions, c.session)
	} else {
		c.session.Close()
	}
	s.active.Done()
}

// address is the address of who has entered.
type address string

func (address) Network() string  { return "http" }
func (a address) String() string { return string(a) }

// cutter is the link of who has entered.
type cutter func()

func (f cutter) cut() { go f() }

// ClientInfo is what is known of a client.
type ClientInfo struct {
	ID                uint64
	Remote            string
	Since             time.Time
	Door              string // the name of the protocol's; "": kv frames, or nothing has come yet
	BytesIn, BytesOut uint64
}

// Clients returns those that have connections, in no order.
func (s *Server) Clients() []ClientInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]ClientInfo, 0, len(s.conns))
	for c := range s.conns {
		info := ClientInfo{ID: c.id, Remote: c.Remote(), Since: s.started.Add(c.since), BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load()}
		if d := c.door.Load(); d != nil {
			info.Door = (*d).Name()
		}
		all = append(all, info)
	}
	return all
}

// unavailable is the answer where what is behind the store failed, unless err is an answer of its own.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	var refusal *protocol.Error
	if errors.As(err, &refusal) {
		return refusal
	}
	return refusalf(protocol.StatusUnavailable, "%v", err)
}

func tooMuchOutput(what string, n, limit int64) error {
	return &protocol.Error{Status: protocol.StatusTooLarge, Message: fmt.Sprintf(
		"the answer to %s would take %d bytes until it is sent, and a client may have %d (--max-client-output): ask for less at a time", what, n, limit)}
}
