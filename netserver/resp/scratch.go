package resp

import (
	"sync"

	"kv/netserver"
	"kv/store"
)

// scratch are lists that commands are parsed into and answered from. A connection has one only while it answers.
type scratch struct {
	args    [][]byte
	batch   []request
	keys    [][]byte
	entries []*store.Entry
	found   []store.Found
	pairs   []store.Pair
}

// request is one of a batch: args[from:to] of the scratch.
type request struct {
	cmd            *Command // nil: there is none such, or no arguments
	from, to, used int
}

const (
	// batchSize is how many requests are parsed before the first is run, and batchArgs how many arguments they have, at most.
	batchSize = 64
	batchArgs = 512
	// manyArgs is from how many arguments on a request's lists are claimed.
	manyArgs = 128
	// argMemory is about what an argument takes in all the lists on the way, here and in the store.
	argMemory = 160
	// keptLine is how much of a line there is room for while a request is thrown away: the head of a string is shorter.
	keptLine = 100
	// longString is the length from which a string is not copied where it need not be.
	longString = netserver.CopySize
)

var scratches = sync.Pool{New: func() any {
	return &scratch{args: make([][]byte, 0, batchArgs), batch: make([]request, 0, batchSize), keys: make([][]byte, 0, batchArgs)}
}}

// give returns s to the pool. A list is cleared before it is filled anew, and so holds nothing behind its end.
func (s *scratch) give() {
	if cap(s.args) > 2*batchArgs || cap(s.keys) > 2*batchArgs || cap(s.entries) > 2*batchArgs ||
		cap(s.found) > 2*batchArgs || cap(s.pairs) > 2*batchArgs {
		return
	}
	s.args, s.batch, s.keys = cleared(s.args), s.batch[:0], cleared(s.keys)
	s.entries, s.found, s.pairs = cleared(s.entries), cleared(s.found), cleared(s.pairs)
	scratches.Put(s)
}

// cleared returns an empty list that holds on to nothing.
func cleared[T any](list []T) []T {
	clear(list)
	return list[:0]
}
