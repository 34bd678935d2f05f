package wal

import (
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"kv/store"
	"kv/store/vfs"
)

// How a write gets to the disk.
//
// The problem. Every write must be in the log, in the order of its version, and under policy Always on the disk, before it
// is answered; a sync takes from a tenth of a millisecond to ten. Many connections write at a time, each with the locks of
// its keys held while it appends. So an append must not wait for the disk, one sync must serve all that wait, and what a
// crash leaves behind must tell how far the log is to be trusted.
//
// What always holds:
//
//	W1  The queue's order is the order of versions: a version is given out and its write queued under one lock.
//	W2  The file's order is the queue's, and one request's write is one record, so any prefix of the log is a state that
//	    the store was in.
//	W3  durable never passes a version whose record, and all before it, a sync that succeeded has covered.
//	W4  The synced position in a record was true when the record was written: no byte before it can be missing later,
//	    unless the disk has lost it.
//	W5  A file is complete, and on disk, before the next one gets its name. A file has its name only once its header is on
//	    disk.
//	W6  After the first error of a write, sync, create or rename, nothing is written to the log again: what the disk holds
//	    behind the last sync that succeeded is unknown, and a later sync that "succeeds" would prove nothing.
//
// The steps:
//
//	1. Append: lock; version = last + 1; push the entries, which are immutable, on the open batch; unlock. Nothing is copied
//	   or encoded here, since the keys' locks are held.
//	2. The flusher, one goroutine, takes the whole batch. What is appended from now on goes to the next one.
//	3. It encodes the records, with the position of the last sync, and writes them in large chunks, large values straight
//	   from their entries.
//	4. It syncs, as the policy says, and stores durable.
//	5. It closes the batch's channel: all that wait for any version in it go on at once. Those that appended meanwhile wait
//	   for the next batch's channel, so nobody is woken in vain.
//	6. Where the file has grown enough, or a snapshot asks for it, it syncs and begins the next one.
//
// Rejected: encoding in the appending goroutine into a shared buffer, as many logs do. It spreads the work over the cores,
// but puts a copy of every value under the keys' locks and the log's, where a large one makes all others wait; entries
// being immutable, a pointer will do. Rejected, too: letting each waiter sync for itself and the others (leader election, as
// in many databases). It saves a wake-up when one connection writes, and needs the waiters to hand the lead over when many
// do; a flusher of its own is simpler, and also has the interval's timer and the rotation to care for.
const (
	writeChunk = 1 << 20              // how much is encoded before it is written
	linger     = 5 * time.Millisecond // policies Interval and Never: how long writes are collected before they are written
	restAfter  = time.Second          // a log that was quiet for so long gets a mark
)

// flusher is the state of the goroutine that writes.
type flusher struct {
	id     uint64 // of the store
	seq    uint64 // of the file
	base   int64  // the position of its first byte
	size   int64  // its bytes, written or not yet known to have failed
	synced int64  // the position up to which the log is on disk
	name   string
	file   vfs.File
	enc    encoder
	marked bool      // the last record says all that can be said: nothing was written since, or synced
	due    time.Time // policy Interval: when to sync; zero: nothing to be synced
}

// Append is part of store.Journal.
func (l *Log) Append(floor uint64, entries []*store.Entry) (uint64, error) {
	var n int64
	for _, e := range entries {
		n += int64(entryHeader + len(e.Key()) + e.Len())
	}
	n += frameHeader + recordHeader

	l.mu.Lock()
	if err := l.refusal(); err != nil {
		l.mu.Unlock()
		return 0, err
	}
	version := max(l.last, floor) + 1
	l.last = version
	b := l.open
	b.writes = append(b.writes, write{version, entries})
	b.bytes += n
	b.last = version
	before := l.queued
	l.queued += n
	if l.tap != nil {
		l.tap.add(write{version, entries}, n)
	}
	// Under Always the flusher sleeps only while nothing is queued. Under the other policies it sleeps on purpose, for a
	// fuller batch, unless there is enough.
	wake := len(b.writes) == 1 || before < writeChunk && l.queued >= writeChunk
	l.mu.Unlock()
	if wake {
		l.poke()
	}
	return version, nil
}

// Admit is part of store.Journal.
func (l *Log) Admit() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.queued >= l.o.QueueBytes && l.err == nil {
		l.room.Wait()
	}
	return l.refusal()
}

// Durable is part of store.Journal.
func (l *Log) Durable() uint64 { return l.durable.Load() }

// Wait is part of store.Journal.
func (l *Log) Wait(version uint64) error {
	if l.durable.Load() >= version {
		return nil
	}
	l.mu.Lock()
	if version > l.last {
		l.mu.Unlock()
		return fmt.Errorf("version %d was never appended", version)
	}
	b := l.open
	if l.busy != nil && version <= l.busy.last {
		b = l.busy
	}
	err := l.err
	l.mu.Unlock()
	if err == nil {
		<-b.done
	}
	if l.durable.Load() >= version {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// run is the flusher's goroutine.
func (l *Log) run() {
	defer close(l.ended)
	f := &l.f
	for {
		b, requests, closing := l.take()
		err := l.flush(b, len(requests) > 0 || closing)
		if err == nil {
			l.finish(b)
		}
		for _, r := range requests {
			if err == nil && r.rotate {
				err = l.rotate()
			}
			if err == nil {
				r.seq, r.base = f.seq, f.base
				close(r.done)
			}
		}
		if err == nil && f.size >= l.o.RotateBytes {
			err = l.rotate()
		}
		if err == nil && closing {
			err = l.end()
		}
		if err != nil {
			l.fail(b, requests, err)
			return
		}
		if closing {
			l.refuse(fmt.Errorf("%w: the log is closed", store.ErrReadOnly))
			return
		}
		l.snap.consider(l.stat.sinceSnapshot.Load())
	}
}

// take waits until there is something to do, and returns the batch to write, which may be empty.
func (l *Log) take() (b *batch, requests []*request, closing bool) {
	f := &l.f
	lingered := l.o.Sync == Always
	for {
		l.mu.Lock()
		urgent := len(l.requests) > 0 || l.closing || l.open.bytes >= writeChunk
		overdue := !f.due.IsZero() && !time.Now().Before(f.due)
		waiting := len(l.open.writes) > 0
		if urgent || overdue || waiting && lingered {
			b, requests, closing = l.open, l.requests, l.closing
			l.busy, l.open, l.requests = b, newBatch(), nil
			l.mu.Unlock()
			return b, requests, closing
		}
		l.mu.Unlock()

		var timeout <-chan time.Time
		switch {
		case waiting:
			timeout, lingered = time.After(linger), true
		case !f.due.IsZero():
			timeout = time.After(time.Until(f.due))
		case !f.marked && l.o.Sync != Never:
			timeout = time.After(restAfter)
		}
		select {
		case <-l.wake:
		case <-timeout:
			if !waiting && f.due.IsZero() {
				f.due = time.Now() // leads to flush with nothing to write: the time for a mark
			}
		}
	}
}

// flush writes b, and syncs if the policy or sync says so.
func (l *Log) flush(b *batch, sync bool) error {
	f := &l.f
	now := time.Now()
	overdue := !f.due.IsZero() && !now.Before(f.due)
	if len(b.writes) > 0 {
		if err := l.write(b); err != nil {
			return err
		}
		if l.o.Sync == Interval && f.due.IsZero() {
			f.due = now.Add(l.o.Interval)
		}
	}
	if sync || overdue || l.o.Sync == Always && len(b.writes) > 0 {
		if f.synced == f.base+f.size || f.marked && len(b.writes) == 0 {
			f.due = time.Time{}
			if len(b.writes) == 0 && overdue && !f.marked {
				return l.mark()
			}
			return nil
		}
		return l.sync()
	}
	return nil
}
