package main

import "fmt"

// shares are the parts of --max-memory. Each has its own, so that a full store still answers.
type shares struct {
	data     int64 // keys, values, history and the table
	requests int64 // on their way in
	output   int64 // answers, and the buffers that they are made in
	client   int64 // of output, for one client's answers
}

const (
	// partOf is how much of --max-memory requests and output get each, 1/partOf, within what follows.
	partOf      = 8
	minRequests = 768 << 10 // enough for the lists of 4096 keys, which docs/protocol.md promises
	minOutput   = 512 << 10
	maxRequests = 256 << 20
	maxOutput   = 320 << 20 // enough for the longest answer that the protocol allows
)

// shares divides --max-memory.
func (o *options) shares() shares {
	part := int64(o.maxMemory) / partOf
	s := shares{
		requests: min(max(part, minRequests), max(maxRequests, 2*int64(o.maxFrame))),
		output:   min(max(part, minOutput), maxOutput),
		client:   int64(o.maxClientOutput),
	}
	if s.client > 0 {
		s.output = max(s.output, s.client/7*8)
	}
	s.data = int64(o.maxMemory) - s.requests - s.output
	return s
}

// checkShares refuses a --max-client-output that there is no room for.
func (o *options) checkShares() error {
	least, most := size(minClientOutput), o.maxMemory/4
	if o.maxClientOutput != 0 && (o.maxClientOutput < least || o.maxClientOutput > most) {
		return fmt.Errorf("--max-client-output %v: it is from %v to a quarter of --max-memory, here %v",
			o.maxClientOutput, least, most)
	}
	return nil
}

// minClientOutput is the least --max-client-output.
const minClientOutput = 64 << 10

// chunk is how long the chunks of a backup are: 1 MiB, less where a client may have no more.
func (s shares) chunk() int {
	n := min(backupChunk, s.output/2)
	if s.client > 0 {
		n = min(n, s.client-128)
	}
	return int(n)
}
