package main

import "runtime/metrics"

// goMemory is what Go's runtime has of the process's memory at one moment, in bytes but for the last.
type goMemory struct {
	total    int64 // all that is mapped, what was given back to the system included
	released int64 // of that, what was given back
	objects  int64 // what was allocated and not yet swept: alive, or garbage
	unused   int64 // in the spans of objects, between them
	free     int64 // spans without an object, not given back
	stacks   int64 // of goroutines
	live     int64 // objects that were alive at the last collection

	goroutines int64 // how many there are
}

// goMemoryNow reads what the runtime has now.
func goMemoryNow() goMemory {
	var m goMemory
	fields := [...]*int64{&m.total, &m.released, &m.objects, &m.unused, &m.free, &m.stacks, &m.live, &m.goroutines}
	samples := [len(fields)]metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(samples[:])
	for i, field := range fields {
		*field = int64(samples[i].Value.Uint64())
	}
	return m
}

// resident is what of the total the system has not got back.
func (m goMemory) resident() int64 { return m.total - m.released }

// heap is the memory of objects and stacks, with what is free in it. Left out is what each goroutine's stack keeps in any
// case: a collection makes a stack smaller that has grown, but not smaller than that.
func (m goMemory) heap() int64 {
	return max(m.objects+m.unused+m.free+m.stacks-m.goroutines*leastStack, 0)
}

// leastStack is what the stack of a goroutine has at least.
const leastStack = 2 << 10
