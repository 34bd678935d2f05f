// Package sim runs whole clusters in one goroutine, from one number: the real replicas and the real log on file
// systems, a network and a clock that are made up. The network drops, delays, doubles and reorders messages and cuts
// links one way; nodes crash between any two calls of the file system, lose what was not synced, are stopped and
// continued, and their disks freeze and fail. Leaders are cut off, and stopped, for as long as it takes to elect
// another, with clients on both sides. Two runs with the same seed are the same, so that a seed that fails is a test
// case.
//
// What is checked at every step, with the invariants of package cluster:
//
//   - an index has one entry, whoever applies it (C1), and a state one content (C10);
//   - up to an index all have the same members, and the same voters (C10);
//   - a record's writer knew the version that its key had before it in the log (C2, C3);
//   - a batch that is published from memory is what is in the log (C4);
//   - a write that was answered is in the log (C5), and on every replica in the end;
//   - a read, and an answer that shows state without writing, is no older than what anyone had been answered when it was asked (C6, C7),
//     or, where a bound was given, than what had been answered by then;
//   - a vote or an acknowledgement leaves after what it promises was saved, and what was promised is there after a crash (C8);
//   - the log begins no later than the snapshot ends (C12);
//   - what is written, all members have said that they read (C13);
//   - a term has one leader.
//
// At the end all faults are over, and then a write must succeed and all replicas become equal.
package sim
