package wal

import (
	"kv/store"
	"kv/store/wal/record"
)

// batch is what the flusher writes, and syncs, at a time. While it is open the log's mutex guards it; then the flusher owns
// it, but for last, done and err; last changes under the mutex.
type batch struct {
	pieces []piece
	writes int
	bytes  int64         // of the records
	last   uint64        // the newest version in it
	done   chan struct{} // closed when there is something to tell those who wait for it
	err    error         // what is told them; set before done is closed, and not changed
	told   bool          // done is closed; the flusher's
}

// piece is a stretch of a batch: the records of small writes, encoded but not sealed, or one large write.
type piece struct {
	records []byte
	large   write // without entries: there is none
}

// write is what one request wrote.
type write struct {
	version uint64
	entries []*store.Entry
}

const (
	// smallWrite is how long a record may be that is encoded, and so copied, where it is appended.
	smallWrite = 4 << 10
	// chunkSize is the memory for encoded records that is taken at a time, so that none has to grow.
	chunkSize = 64 << 10
	// spareChunks is how many of them are kept to be used again.
	spareChunks = 16
)

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// add adds a write whose record has n bytes. Where a new chunk is needed, it is taken from spare.
func (b *batch) add(version uint64, entries []*store.Entry, n int, spare *[][]byte) {
	b.writes++
	b.bytes += int64(n)
	b.last = version
	if n > smallWrite {
		b.pieces = append(b.pieces, piece{large: write{version, store.Clones(entries)}})
		return
	}
	i := len(b.pieces) - 1
	if i < 0 || cap(b.pieces[i].records)-len(b.pieces[i].records) < n {
		b.pieces = append(b.pieces, piece{records: takeChunk(spare)})
		i++
	}
	b.pieces[i].records = record.Append(b.pieces[i].records, version, entries)
}

func takeChunk(spare *[][]byte) []byte {
	last := len(*spare) - 1
	if last < 0 {
		return make([]byte, 0, chunkSize)
	}
	c := (*spare)[last]
	*spare = (*spare)[:last]
	return c
}

// resolve lets those go on who wait for b: nil, it is as durable as the policy promises. After the first call it does nothing.
func (b *batch) resolve(err error) {
	if !b.told {
		b.err, b.told = err, true
		close(b.done)
	}
}

// join adds the writes of next, which follow those of b.
func (b *batch) join(next *batch) {
	if next.writes > 0 {
		b.pieces, b.writes, b.bytes, b.last = append(b.pieces, next.pieces...), b.writes+next.writes, b.bytes+next.bytes, next.last
	}
}

// release gives the chunks of b, which was written, to spare.
func (b *batch) release(spare *[][]byte) {
	for _, p := range b.pieces {
		if p.records != nil && len(*spare) < spareChunks {
			*spare = append(*spare, p.records[:0])
		}
	}
	b.pieces = nil
}
