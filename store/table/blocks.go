package table

import (
	"sync"
	"unsafe"

	"kv/store/arena"
)

// blocks are values that lie outside of their entries. The table holds each until its entry's grace period is over, and whoever
// retains one holds it until it is released; the last frees it.
type blocks struct {
	mu   sync.Mutex // guards heap
	heap *arena.Heap
}

// NeedsBlock reports whether a value of n bytes has to be a block.
func NeedsBlock(n int) bool { return n > mostInline }

// NewBlock copies a value that needs one into a block, with no shard locked; ok is false if there is no memory for it. It belongs to the
// caller until an entry with it is published. must takes memory past the budget.
func (t *Table) NewBlock(value []byte, must bool) (b Block, ok bool) {
	alloc := t.blocks.heap.Alloc
	if must {
		alloc = t.blocks.heap.MustAlloc
	}
	t.blocks.mu.Lock()
	r, ok := alloc(blockHeader + len(value))
	t.blocks.mu.Unlock()
	if !ok {
		return Block{}, false
	}
	holders(t.arena, r).Store(1)
	*(*uint64)(unsafe.Add(t.at(r), 8)) = uint64(len(value))
	copy(bytesAt(t.at(r), blockHeader, len(value)), value)
	return Block{r}, true
}

// moveBlock copies a block, for the table.
func (t *Table) moveBlock(r arena.Ref) (to arena.Ref, ok bool) {
	n := blockHeader + len(t.Bytes(Block{r}))
	t.blocks.mu.Lock()
	to, ok = t.blocks.heap.MustAlloc(n)
	t.blocks.mu.Unlock()
	if !ok {
		return 0, false
	}
	copy(bytesAt(t.at(to), 8, n-8), bytesAt(t.at(r), 8, n-8))
	holders(t.arena, to).Store(1)
	return to, true
}

// FreeBlock frees a block that no entry got.
func (t *Table) FreeBlock(b Block) {
	if b.ref != 0 {
		t.release(b.ref)
	}
}

// Retain keeps the bytes of e's value as they are until [Table.Release], beyond Unpin, if the value is a block; ok is false if it is
// not, and has to be copied. The reader is pinned.
func (t *Table) Retain(e Entry) (b Block, ok bool) {
	r := e.block()
	if r == 0 {
		return Block{}, false
	}
	holders(t.arena, r).Add(1)
	return Block{r}, true
}

// Bytes returns the bytes of a block.
func (t *Table) Bytes(b Block) []byte {
	p := t.at(b.ref)
	return bytesAt(p, blockHeader, int(*(*uint64)(unsafe.Add(p, 8))))
}

// Release ends what Retain began.
func (t *Table) Release(b Block) { t.release(b.ref) }

func (t *Table) release(r arena.Ref) {
	if holders(t.arena, r).Add(-1) > 0 {
		return
	}
	t.blocks.mu.Lock()
	defer t.blocks.mu.Unlock()
	t.blocks.heap.Free(r)
}
