package store

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Options configure a Store. The zero value is a store in memory, without limits, history or log.
type Options struct {
	// Journal makes writes durable; nil: they are lost when the process ends.
	Journal Journal
	// MaxMemory is how many bytes the store may take, as Stats.MemoryBytes counts them; 0: no limit. A write that would go
	// past it fails with ErrOutOfMemory.
	MaxMemory int64
	// Evict makes the store a cache: where a write would go past MaxMemory, keys that were not asked for lately are deleted
	// first. It excludes History and Proposes.
	Evict bool
	// History is how many earlier versions of each key are kept besides the current one.
	History int
	// HistoryAge is how long an earlier version is kept after it was replaced, and a deletion after it was made; 0: for any
	// time. Older ones are not shown any more, and their memory is free within a second. The least is a millisecond.
	HistoryAge time.Duration
	// Beside, if not nil, is called with the number of bytes that the store has outside Go's heap, whenever that changes, for
	// a program that sets Go's memory limit. It is called with locks held, from several goroutines at a time, so it must be
	// quick and not use the store.
	Beside func(bytes int64)
	// Proposes says that the store is one of several replicas, and that Journal is a Replica. A write takes effect only when
	// the journal brings it back, by Store.Apply; a session calls Begin before it reads; and the journal says what time it
	// is, so that a key expires at the same place in the journal everywhere.
	Proposes bool
	// Logger gets the store's warnings, which never have a key or a value in them; nil: there are none.
	Logger *slog.Logger
}

// The errors of a write that was not applied.
var (
	// ErrOutOfMemory: the write would pass Options.MaxMemory.
	ErrOutOfMemory = errors.New("out of memory")
	// ErrReadOnly: the journal has failed or has no room for now, or the store is closed; reads go on.
	ErrReadOnly = errors.New("read-only")
	// ErrTooLarge: a key or a value is longer than MaxLen.
	ErrTooLarge = errors.New("too large")
	// ErrTwoExpiries: a key can't have both a TTL and an ExpireAt.
	ErrTwoExpiries = errors.New("both a time to live and an expiry")
	// ErrNoVersion: the version that a rollback asked for is not kept.
	ErrNoVersion = errors.New("version not kept")
	// ErrNoHistory: no earlier version of any key is kept, since Options.History is 0. It matches ErrNoVersion.
	ErrNoHistory = fmt.Errorf("%w: no history is kept", ErrNoVersion)
	// ErrStaleCursor: the cursor of a scan is not one that this store gave.
	ErrStaleCursor = errors.New("stale cursor")
)

// ConflictError is the error of a conditional write whose condition did not hold. Nothing was applied.
type ConflictError struct {
	Index   int    // which condition, counted from 0
	Version uint64 // the key's current version; 0: it is absent
}

// Error says which condition failed.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("condition %d does not hold: the key's version is %d", e.Index, e.Version)
}

// SetOptions are the options of one Set.
type SetOptions struct {
	Conditional bool   // apply only if the key's version is IfVersion
	IfVersion   uint64 // 0: only if the key is absent
	TTL         uint64 // milliseconds until the key expires; 0: never
	// ExpireAt is when the key expires, in Unix milliseconds; 0: never. It excludes TTL. A time that has passed leaves the
	// key absent: the write takes a version and is in the log and in the history as a deletion is.
	ExpireAt uint64
}

// Pair is a key and its new value.
type Pair struct{ Key, Value []byte }

// Condition holds while Key has exactly this version; 0: while it is absent.
type Condition struct {
	Key     []byte
	Version uint64
}

// OpKind says what one operation of a transaction does.
type OpKind uint8

// The kinds of operation in a transaction.
const (
	OpGet OpKind = 1 + iota
	OpSet
	OpDel
)

// Op is one operation of a transaction.
type Op struct {
	Kind  OpKind
	Key   []byte
	Value []byte // OpSet
	TTL   uint64 // OpSet: milliseconds until the key expires; 0: never
	// ExpireAt is, for OpSet, as SetOptions.ExpireAt.
	ExpireAt uint64
}

// Result is the answer to one operation of a transaction.
type Result struct {
	Entry   *Entry // OpGet: nil when the key is absent
	Existed bool   // OpDel
}

// ViewResult is a Result whose entry is where it lies: see [View].
type ViewResult struct {
	Found   Found // OpGet
	Existed bool  // OpDel
}

// Page is one page of a scan.
type Page struct {
	Entries []*Entry
	Next    []byte // the cursor of the next page; nil: this was the last
}

// Revision is one kept version of a key. Its entry may be a deletion.
type Revision struct {
	Entry *Entry
	Time  uint64 // when the version was written, in Unix microseconds
}

// Stats are the store's figures. They are of one instant, except the counts of operations, which have every operation that
// was flushed before.
type Stats struct {
	Keys        uint64 // keys that exist
	Expiring    uint64 // keys that have an expiry
	ValueBytes  uint64 // the sum of the lengths of all values
	GetOps      uint64 // keys read, by Get, MGet, GetVersion and OpGet, found or not
	Misses      uint64 // keys read and not found
	SetOps      uint64 // keys written
	DelOps      uint64 // keys deleted, whether they existed or not
	MemoryBytes uint64 // the memory of keys, values and history, the table's own, and what waits to be used again
	// WaitingBytes is the part of MemoryBytes that was replaced or deleted, and waits until no reader can hold it.
	WaitingBytes uint64
	History      uint64 // earlier versions that are kept
	Expired      uint64 // expired keys that were removed since Open; not those that were set anew before
	EvictedKeys  uint64 // keys that were deleted since Open to make room for others: see Options.Evict
	Evicted      uint64 // earlier versions that were dropped since Open to make room for writes
}

// NotAdmittedError is the error of Journal.Append for a write of Size bytes that the journal has no room for, or is not sure to
// have. Nothing was appended. The store calls Admit and begins the write again; its callers never see the error.
type NotAdmittedError struct{ Size int64 }

// Error says so.
func (e *NotAdmittedError) Error() string {
	return fmt.Sprintf("a write of %d bytes was not admitted to the journal", e.Size)
}

// Journal makes writes durable. A Store calls Append with the locks of the write's keys held. So the journal's order is the
// order in which the writes of any one key take effect, and Append must not wait for a disk. Store.Walk shows everything that
// was appended before it began, so a journal can write a snapshot and drop what it had logged before.
type Journal interface {
	// Expect returns about how many entries Replay will give to load, so that the store can make room for them at once; 0 if
	// that is not known.
	Expect() int64
	// Replay calls load and apply with everything that the journal holds, before anything is appended, and returns the highest
	// version in it. The entries have their versions. The slices, and entries made by a [Maker], are the journal's again when
	// load or apply returns.
	//
	// First it calls load with the entries of one state, such as a snapshot. When all these calls have returned, it calls
	// apply with the writes since. It may call both from several goroutines. The writes of one key come in order, and may be
	// given again from any one on.
	Replay(load, apply func(entries []*Entry)) (last uint64, err error)
	// Append puts one write behind all earlier ones, gives it the next version, which is above floor, and returns that. The
	// entries are what the write leaves of each key that it changes, deletions and erasures (see Entry.Purge) included; there
	// may be none. They do not have their version yet. Entries and slice are the store's again when Append returns: see
	// Clones. An error matches ErrReadOnly, or is a *NotAdmittedError.
	Append(floor uint64, entries []*Entry) (version uint64, err error)
	// Admit waits until a write of size bytes, as Entry.Size counts its entries, can be appended: while more is appended and
	// unwritten than the journal may hold, or the journal looks for room for a large one. It is called with no locks held, and
	// before memory is taken for the write. An error, which matches ErrReadOnly, says that Append would refuse it.
	//
	// It reserves nothing: what others append meanwhile may take the room, and Append then says so. Size 0 asks whether writes
	// are taken at all.
	Admit(size int64) error
	// Durable returns the version up to which nothing can be undone by a crash, as far as the sync policy promises.
	Durable() uint64
	// Wait returns once Durable has reached version, or with an error that matches ErrReadOnly if it never will, or not before
	// there is room.
	Wait(version uint64) error
}
