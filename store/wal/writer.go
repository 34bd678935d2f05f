package wal

import (
	"fmt"
	"time"

	"kv/store"
	"kv/store/wal/frame"
	"kv/store/wal/record"
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
//	W5  A file has its name only once its header is on disk, and a record only once its name is. By then the file before is
//	    complete, and on disk. Before that the log may still go on in that one.
//	W6  After the first error of a sync, or of a write for another reason than want of room, nothing is written to the log
//	    again: what the disk holds behind the last sync that succeeded is unknown, and a later sync that "succeeds" would
//	    prove nothing.
//	W7  A write that found no room changes neither the end of the log nor what is durable: it is written again there.
//
// The steps:
//
//  0. Admit, before any lock is taken, waits while the queue is full. For a large write it has the flusher look for room.
//  1. Append locks the queue, refuses what the file is not known to have room for, gives out version last + 1 and adds the
//     record to the open batch. The keys' locks are held, so this must be quick: a small write is encoded at once, without
//     the position of the last sync and the checksum, which is less work than to remember it; of a large write only the
//     entries are noted, which are immutable.
//  2. The flusher, one goroutine, takes the whole batch. What is appended from now on goes to the next one.
//  3. It makes room in the file for this batch and those that come next. It adds position and checksum to the records,
//     encodes the large ones, and writes them in chunks, large values straight from their entries.
//  4. It syncs, as the policy says, and stores durable.
//  5. It closes the batch's channel: everyone who waits for a version in it goes on. Those who appended meanwhile wait for the
//     next batch's channel, so nobody is woken in vain.
//  6. When the file has grown enough, or a snapshot asks for it, the flusher syncs and begins the next file. If that fails,
//     the log goes on in this one.
//
// Rejected: noting the entries of small writes too and encoding them in the flusher. By then they have left the processor's
// caches, and the notes are garbage with pointers in it: a SET took half as much again. Rejected, too: letting each waiter
// sync for itself and the others (leader election, as in many databases). It saves a wake-up when one connection writes, but
// the waiters have to hand the lead over when many do. A flusher is simpler, and takes care of the interval's timer and of
// rotation as well.
const (
	linger    = 5 * time.Millisecond // policies Interval and Never: how long a batch is collected before it is written
	maxGather = time.Millisecond     // policy Always: the longest that a batch is collected
	restAfter = time.Second          // a log that was quiet for so long gets a mark: see flusher.mark
)

// Append is part of store.Journal.
func (l *Log) Append(floor uint64, entries []*store.Entry) (uint64, error) {
	n := record.Size(entries)
	l.mu.Lock()
	if err := l.place(int64(n)); err != nil {
		l.mu.Unlock()
		return 0, err
	}
	version := max(l.last, floor) + 1
	l.last = version
	l.open.add(version, entries, n, &l.spare)
	before := l.queued
	l.queued += int64(n)
	if l.isFull() {
		l.updateAdmits()
	}
	l.feed.Add(version, entries)
	// The flusher sleeps while nothing is queued, and for a little longer, for a fuller batch, unless that is full.
	wake := l.open.writes == 1 || l.open.writes == l.expected || before < frame.WriteChunk && l.queued >= frame.WriteChunk
	l.mu.Unlock()
	if wake {
		l.poke()
	}
	return version, nil
}

// Admit is part of store.Journal.
func (l *Log) Admit(size int64) error {
	if size <= l.sure && l.admits.Load() {
		return nil
	}
	n := size + frame.MarkSize
	for {
		known, err := l.waitForPlace(n)
		if known || err != nil {
			return err
		}
		if err := l.ask(&request{room: n}); err != nil {
			return err
		}
	}
}

// Durable is part of store.Journal.
func (l *Log) Durable() uint64 { return l.durable.Load() }

// Wait is part of store.Journal.
func (l *Log) Wait(version uint64) error {
	if l.durable.Load() >= version {
		return nil
	}
	l.mu.Lock()
	if l.durable.Load() >= version { // again: its batch may be gone by now
		l.mu.Unlock()
		return nil
	}
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
	if err != nil {
		return err
	}
	<-b.done
	if l.durable.Load() >= version {
		return nil
	}
	return b.err
}
