// Package cluster keeps several stores alike: one log, in an order that a majority has on disk, is applied to each of them. The
// consensus is Raft, by go.etcd.io/raft/v3, a state machine without goroutines, clock, disk or network; this package is
// what is around that.
//
// A [Core] is one replica, and like the library under it without goroutines, clock, disk and network: it is told what
// happened, and says what is to be done. A [Node] has the goroutines that tell it and do it. Package sim drives whole
// clusters of Cores from one goroutine, on a fake clock, network and file systems.
//
// # Invariants
//
// Code and tests cite them by number.
//
//   - C1 The state holds only what is committed, in the log's order. Only applying the log, and the swap of a snapshot
//     that was taken in, change it.
//   - C2 A version is given, and its record put into the open batch, under one lock, in one epoch; the epochs of a process
//     do not overlap.
//   - C3 Append is open only while this node leads and has published its own term's first entry; so every effect is
//     computed from all effects before it in the log.
//   - C4 A batch carries (node, nonce of the process, epoch, number). The leader publishes its own entries from memory only
//     if all four are those of the oldest in flight; otherwise from the bytes.
//   - C5 An answer to a write leaves only if its version is published and the epoch is still that in which it was given, or it was
//     published by an entry of that epoch's term. That nothing was applied is said only once an entry of a later term is published after all
//     that came before.
//   - C6 A batch of requests with a read in it is executed only after an index is published that was obtained by a round that
//     began after the batch arrived. The leader is no exception. If the state is swapped for a snapshot meanwhile, what the batch has read is
//     not answered.
//   - C7 An answer of the write path that shows state without writing waits as C5 says for what it saw, and confirms as C6
//     says afterwards.
//   - C8 A message that says "I have it" (an acknowledged append, a vote) leaves only after a sync that covered it. Hard state
//     and entries are in one file, in order.
//   - C9 After the first error of a write or sync nothing is written again: the node leaves leadership, answers nobody and
//     ends. A single node stays for its reads; here the others have them.
//   - C10 Applying is a function of the log alone: no clock, no budget, no configuration, no chance, no order of a map. Two
//     replicas that have published the same index have the same content.
//   - C11 No goroutine that the loop waits for, and none that steps the core, touches a disk meanwhile, or a lock that a disk can hold up: storage is asynchronous, and
//     logging goes through a queue.
//   - C12 Log entries up to an index go only if a durable snapshot has that index, and no stream of a snapshot has pinned
//     them.
//   - C13 A format is written only if all members said that they read it.
//
// # Where to begin
//
//   - What happens, and what is to be done: core.go, work.go.
//   - Leading: lead.go (C2 to C5), vote.go (what is told with votes), down.go (a leader whose process has ended), watch.go (a disk that hangs).
//   - Writes: propose.go (batches, and how many are on their way), gather.go (when the next one goes), entry.go and payload.go (their bytes), fate.go
//     (what becomes of those that are under way when leading ends: C5).
//   - Reads: reads.go (rounds: C6).
//   - Members: member.go, membership.go (how they change), promotion.go (from learner to voter), format.go and settings.go (what all agree on).
//   - Goroutines: node.go, step.go, inbox.go, queue.go, transfer.go, status.go, counts.go, logger.go.
//   - The log: log.go, openlog.go, entries.go (what the library sees), save.go, segment.go, record.go.
//   - The way to others: transport.go, greet.go, peer.go, outlet.go, stream.go, convey.go.
//   - A store that is one of several: replica.go, journal.go, machine.go, handover.go, snapshot.go, backup.go, change.go and view.go (what an operator
//     changes and sees).
//   - How a cluster begins, and is found: found.go, desk.go, announce.go.
//   - A folder that no process uses: standing.go, recover.go, restore.go.
//
// docs/replication.md has the argument.
package cluster
