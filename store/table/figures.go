package table

import (
	"time"

	"kv/store/arena"
)

// Figures are a table's, in bytes and objects.
type Figures struct {
	Arena        arena.Figures
	Used         int64 // what objects and large values take, those that wait included
	Large        int64 // of Used, large values
	Limbo        int64 // of Used, what waits until nobody can look at it
	LimboObjects int64
}

// Figures returns the figures. It locks one shard after the other.
func (t *Table) Figures() Figures {
	f := Figures{Arena: t.arena.Figures()}
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		f.Used += sh.heap.Used()
		f.Limbo += sh.limbo.Bytes()
		f.LimboObjects += int64(sh.limbo.Len())
		sh.mu.Unlock()
	}
	f.Large = t.larges.used()
	f.Used += f.Large
	return f
}

// Large returns how many bytes the large values take.
func (t *Table) Large() int64 { return t.larges.used() }

// Held looks at all readers, and returns for how long, at least, one that stays pinned has kept memory from being used
// again, and who that is; 0: nobody has.
func (t *Table) Held() (reader string, since time.Duration) {
	t.epochs.Hurry() // not Advance, which may rest and leave what was found before the reader ended
	return t.epochs.Held()
}

// Scavenge is that of [arena.Arena].
func (t *Table) Scavenge(spare bool) int64 { return t.arena.Scavenge(spare) }

// Resident returns how many bytes the table has of the system.
func (t *Table) Resident() int64 { return t.arena.Figures().Resident }
