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
//  0. Admit, before any lock is taken, waits while the queue is full, and for the flusher to look whether a large write has room.
//  1. Append: lock; refuse what the file is not known to have room for; version = last + 1; add the record to the open batch, but for what is not known yet; unlock. The keys'
//     locks are held, so what this may take is bounded: a small write is encoded, which is less work than to remember it,
//     of a large one only the entries are noted, which are immutable.
//  2. The flusher, one goroutine, takes the whole batch. What is appended from now on goes to the next one.
//  3. It sees to it that the file has room for the batch and for those that come next. It seals the records, with the position of the last sync and a checksum, encodes the large ones, and writes them in
//     chunks, large values straight from their entries.
//  4. It syncs, as the policy says, and stores durable.
//  5. It closes the batch's channel: all that wait for any version in it go on at once. Those that appended meanwhile wait
//     for the next batch's channel, so nobody is woken in vain.
//  6. Where the file has grown enough, or a snapshot asks for it, it syncs and begins the next one. Where that fails, it goes
//     on in this one.
//
// Rejected: noting the entries of small writes too and encoding them in the flusher. By then they are no longer in the
// processor's caches, and the notes are garbage with pointers in it: a SET took half as much again. Rejected, too:
// letting each waiter sync for itself and the others (leader election, as in many databases). It saves a wake-up when
// one connection writes, and needs the waiters to hand the lead over when many do; a flusher of its own is simpler, and
// also has the interval's timer and the rotation to care for.
const (
	linger    = 5 * time.Millisecond // policies Interval and Never: how long writes are collected before they are written
	maxGather = time.Millisecond     // policy Always: the longest that a batch is collected
	restAfter = time.Second          // a log that was quiet for so long gets a mark
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
		l.settle()
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
		known, err := l.await(n)
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
