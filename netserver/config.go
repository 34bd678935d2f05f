package netserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"kv/protocol"
	"kv/protocol/printable"
	"kv/store"
)

// The defaults of a Config.
const (
	// DefaultMaxConnections bounds the memory of idle connections to about 40 MB and stays below the descriptor limits that
	// systems commonly grant.
	DefaultMaxConnections = 10_000
	DefaultFrameTimeout   = 30 * time.Second
	DefaultWriteTimeout   = 30 * time.Second
	DefaultRequestMemory  = 1 << 30
	DefaultOutputMemory   = 1 << 30
)

// Config is what a Server is made of. Only Store is needed; the zero value of everything else means its default.
type Config struct {
	Store *store.Store
	// Limit is the largest length, in bytes, of a request's frame; at most protocol.MaxLimit. 0: protocol.DefaultLimit. It is
	// less where RequestMemory has no room for a frame of that length: see Server.Limit.
	Limit uint32
	// MaxConnections is how many connections are served at a time; one more is told UNAVAILABLE and closed.
	MaxConnections int
	// FrameTimeout is how long a frame may take from its first byte to its last, TLS its handshake, and, where there are
	// Accounts, a client to log in; see the package comment for what slow and large frames get on top.
	FrameTimeout time.Duration
	// WriteTimeout is how long a client may take nothing of what it is sent. Of a client that is waited for longer, each 64
	// KiB that it takes count as a second.
	WriteTimeout time.Duration
	// RequestMemory is how many bytes requests may take together, beyond a few hundred each: frames that have not arrived
	// whole, large ones until they are answered, and lists of more than a hundred keys. What would pass it is answered
	// OUT_OF_MEMORY. A frame takes half as much again as it is long while it arrives, so one of more than two thirds of this is
	// over the limit.
	RequestMemory int64
	// OutputMemory is how many bytes connections may hold together in order to answer: buffers, and values on their way out,
	// which live until they are sent though the key has another value by then. Who needs more waits, and the client that has
	// not read its answers for the longest time is cut off.
	OutputMemory int64
	// ClientOutput is how much of OutputMemory the answers to one client may have: a longer one is TOO_LARGE, and so is a
	// request that is longer, since its value could not be read. 0: about
	// seven eighths of OutputMemory.
	ClientOutput int64
	// TLS, when set, is spoken on every connection.
	TLS *tls.Config
	// Accounts, when set, says who may connect; nil: everyone may do everything.
	Accounts *Accounts
	// Doors are the protocols that are spoken besides kv frames; which, the first byte of a connection says.
	Doors []Door
	// MemoryLimit is what the store's limit, RequestMemory and OutputMemory come to, for STATS to tell; 0: none.
	MemoryLimit int64
	// Uncounted says what the process has taken of the system's memory beyond counted, what is counted for data,
	// requests and answers: memory_bytes has it, too. Nil: nothing.
	Uncounted func(counted int64) int64
	// Snapshots does what SNAPSHOT asks for; nil: there is no data folder, and it is UNAVAILABLE.
	Snapshots Snapshots
	// Backups does what BACKUP asks for; nil: it is UNAVAILABLE.
	Backups Backups
	// Cluster is the cluster that the server is in; nil: it is alone.
	Cluster Cluster
	// Figures are further ones for STATS, behind the server's own; nil: there are none.
	Figures func() []protocol.Stat
	// Logger gets the server's messages, which never hold a key or a value; nil: nobody does.
	Logger *slog.Logger
	// Name is what HELLO calls the server, name and version, for a person.
	Name string

	patience time.Duration // outputPatience; other in tests
}

// Snapshots writes snapshots to a data folder. It is called from many goroutines.
type Snapshots interface {
	// Snapshot writes a snapshot, waits until it is durable, and says which version it reaches and how many bytes it has.
	// It ends early with ctx, which ends when the server shuts down. An error that is no *protocol.Error is answered
	// UNAVAILABLE.
	Snapshot(ctx context.Context) (version uint64, size int64, err error)
}

// Backups reads the store out in chunks. It is called from many goroutines.
type Backups interface {
	// Backup returns the next chunk of a backup and the handle to continue with, 0 after the last chunk. With handle 0 it
	// begins one, for a user; "": there are none. After an error there is no such backup any more. An error that is no
	// *protocol.Error is answered UNAVAILABLE.
	Backup(user string, handle uint64) (next uint64, chunk []byte, err error)
	// End gives up the backup that would continue with handle, if there is one.
	End(handle uint64)
}

// withDefaults returns c with its zero values replaced, or what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	if c.Store == nil {
		return c, errors.New("netserver: Config.Store is nil")
	}
	if c.Limit == 0 {
		c.Limit = protocol.DefaultLimit
	}
	if c.Limit > protocol.MaxLimit {
		return c, fmt.Errorf("netserver: a frame limit of %d bytes, at most %d are possible", c.Limit, protocol.MaxLimit)
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	if c.FrameTimeout == 0 {
		c.FrameTimeout = DefaultFrameTimeout
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = DefaultWriteTimeout
	}
	if c.RequestMemory == 0 {
		c.RequestMemory = DefaultRequestMemory
	}
	if c.OutputMemory == 0 {
		c.OutputMemory = DefaultOutputMemory
	}
	if c.ClientOutput == 0 {
		c.ClientOutput = min(c.OutputMemory/8*7, c.OutputMemory-2*workspaceMemory)
	}
	if c.MaxConnections < 0 || c.FrameTimeout < 0 || c.WriteTimeout < 0 || c.RequestMemory < 0 || c.OutputMemory < 0 || c.ClientOutput < 0 {
		return c, errors.New("netserver: a negative limit in Config; 0 means the default")
	}
	if c.OutputMemory < minOutputMemory || c.ClientOutput < minClientOutput || c.ClientOutput > c.OutputMemory-workspaceMemory {
		return c, fmt.Errorf("netserver: %d bytes for answers, %d of them for one client: at least %d and %d are needed, and %d must be left to others",
			c.OutputMemory, c.ClientOutput, minOutputMemory, minClientOutput, workspaceMemory)
	}
	// What can't be kept or could not be read is not taken.
	c.Limit = uint32(min(int64(c.Limit), int64(largestFrame(c.RequestMemory))-4, c.ClientOutput-answerExtra))
	if c.patience == 0 {
		c.patience = outputPatience
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Name == "" {
		c.Name = "kv"
	}
	c.Name = printable.Line(c.Name)
	return c, nil
}
