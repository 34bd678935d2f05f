// Package arena is memory for objects without pointers that the garbage collector neither scans nor moves nor frees: one
// range of addresses, reserved once, from which objects are cut by size, and to which they are given back by hand.
//
// An object is named by a [Ref], a number of 32 bits, so that a table of objects takes half of what pointers take and holds
// nothing for the collector to look at. [Arena.At] turns a Ref into an address.
//
// # From the outside in
//
//	range    all addresses, reserved; nothing of it is memory at first
//	chunk    2 MiB, one huge page where the system has them: what is taken from the system and given back to it
//	page     16 KiB: what spans are made of; a chunk has 128
//	span     1 to 32 pages, cut into objects of one class; a bitmap of 256 bits says which are free
//	class    a size of objects, 64 bytes to 64 KiB, in steps of a sixteenth (an eighth above 4 KiB); larger objects are runs
//	         of pages by themselves
//	set      lists of the spans that have free objects, one list a class; a span belongs to one set for life
//	heap     what one owner allocates with, under the owner's lock: it keeps a few free objects of each class at hand, a
//	         magazine, and so takes the lock of a list once for many
//
// Free objects are bits, not links in the objects, so freeing one touches none of its memory. The magazines are those of Bonwick
// and Adams, "Magazines and Vmem", USENIX 2001; spans of classes on a heap of pages those of tcmalloc and of Go's allocator.
//
// # Giving back
//
// Objects die at random, so after a change of sizes, or many deletions, every chunk still holds something.
// [Arena.BeginCompact] picks the chunks with least in them and lets nothing new in; the owner of the objects copies
// those that lie there ([Arena.Leaving]) and frees the old ones; what is empty then is given back by [Arena.Scavenge].
// Whole chunks only: to give back a part of a huge page breaks it up, and the system may fill the hole again with zeros
// to make it whole.
//
// # What must hold
//
//   - An object belongs to one heap's set for life: it is freed by a heap of the set that it was allocated by.
//   - Lock order: the owner's lock, list.mu, pages.mu.
//   - A span's shape (its class, size, set, back) is written before its first object is handed out and stays until its last is
//     back, so whoever holds an object may read it without a lock.
package arena
