// Package wal keeps a store's writes on disk: a log, snapshots that bound its length, and the recovery of a store from
// both. A [Log] is the store's journal:
//
//	log, err := wal.Open(wal.Options{Dir: "/var/lib/kv"})   // takes the folder
//	st, err := store.Open(store.Options{Journal: log})      // fills the store with what the folder holds
//	log.Attach(st)                                          // from here on, snapshots are taken of st
//	...
//	st.Close()
//	log.Close()
//
// A folder holds
//
//	LOCK                       locked by the process that uses the folder
//	log-<sequence>             the writes, in order; the highest sequence is the one being written
//	snapshot-<sequence>        the state of the store, but for the writes in logs of this sequence and above
//	*.tmp                      what a crash left unfinished; removed at the next start
//	*.torn-<offset>            the torn tail that a start cut off a log, kept for inspection
//	*.damaged-<number>         what a file was before Repair; kept for inspection
//
// Where to begin: writer.go has the write path, and begins with how it works; batch.go what it collects, queue.go what
// the writers and the flusher share, flusher.go what becomes of that; recovery.go and load.go the way back; snapshot.go
// and backup.go the snapshots. Below are frame and record, the bytes on disk; folder, which files there are; logfile,
// one that is being written; and tool, what an operator calls for a folder that no process uses.
package wal
