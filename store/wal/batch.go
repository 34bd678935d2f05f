package wal

import (
	"kv/store"
	"kv/store/wal/record"
)

// batch is what the flusher writes, and syncs, at a time. While it is open, queue.mu guards it. Then it is the flusher's, but
// for last, which changes under queue.mu, and for done and err.
type batch struct {
	pieces []piece
	writes int
	bytes  int64         // of the records
	last   uint64        // the newest version in it
	done   chan struct{} // closed when the batch is as durable as the policy promises, or err says why not
	err    error         // set before done is closed, which publishes it
	told   bool          // done is closed; the flusher's
}

// piece is a part of a batch: either the records of small writes, encoded but not sealed, or one large write.
type piece struct {
	records []byte
	large   write // if records is nil
}

// write is what one request wrote.
type write struct {
	version uint64
	entries []*store.Entry
}

const (
	// smallWrite is the longest record, in bytes, that Append encodes.
	smallWrite = 4 << 10
	// chunkSize is how many bytes of memory for encoded records are taken at a time, so that none has to grow.
	chunkSize = 64 << 10
	// spareChunks is how many chunks are kept to be used again.
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

// resolve lets everyone who waits for b go on, with this error, or with nil if b is as durable as the policy promises. Only
// the first call counts.
func (b *batch) resolve(err error) {
	if !b.told {
		b.err, b.told = err, true
		close(b.done)
	}
}

// join adds the writes of next, which follow those of b.
func (b *batch) join(next *batch) {
	if next.writes > 0 {
		b.pieces, b.last = append(b.pieces, next.pieces...), next.last
		b.writes, b.bytes = b.writes+next.writes, b.bytes+next.bytes
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
