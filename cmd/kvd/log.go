package main

import (
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// newLogger logs text where a person reads it, and JSON elsewhere. f is what lines goes to.
func newLogger(lines *lineQueue, f *os.File) *slog.Logger {
	o := &slog.HandlerOptions{ReplaceAttr: withUnits}
	if term.IsTerminal(int(f.Fd())) {
		return slog.New(slog.NewTextHandler(lines, o))
	}
	return slog.New(slog.NewJSONHandler(lines, o))
}

// withUnits writes a duration as "1.5s", which in JSON would be a number of nanoseconds.
func withUnits(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

const (
	// queuedLines is how many lines wait for a log that is not read; those beyond are dropped.
	queuedLines = 1024
	// lastLines is how long the end of the process waits for the lines that are queued.
	lastLines = time.Second
)

// lineQueue writes lines to an io.Writer, in order, without making anyone wait for it: a server must not stand still, nor end,
// because nobody reads its log any more or the log's disk is full. Lines that find the queue full or can't be written
// are dropped and counted. It lasts as long as the process.
type lineQueue struct {
	to      io.Writer // the writing goroutine's alone
	queue   chan queued
	dropped atomic.Uint64 // a count, publishes nothing
}

// queued is a line, or a flush that waits for the lines before it.
type queued struct {
	line    []byte
	flushed chan<- struct{} // not nil: no line; closed when those before are written
}

func newLineQueue(to io.Writer) *lineQueue {
	q := &lineQueue{to: to, queue: make(chan queued, queuedLines)}
	go q.write()
	return q
}

// Write queues a copy of line, which ends with a newline. It never waits and always succeeds. It may be called side by side.
func (q *lineQueue) Write(line []byte) (int, error) {
	select {
	case q.queue <- queued{line: append([]byte(nil), line...)}:
	default:
		q.dropped.Add(1)
	}
	return len(line), nil
}

func (q *lineQueue) write() {
	torn := false // a part of a line was written
	for next := range q.queue {
		if next.flushed != nil {
			close(next.flushed)
			continue
		}
		line := next.line
		if torn {
			line = append([]byte{'\n'}, line...)
		}
		n, err := q.to.Write(line)
		if err != nil {
			q.dropped.Add(1)
		}
		if n > 0 {
			torn = line[n-1] != '\n'
		}
	}
}

// flush waits until the lines so far are written or dropped, at most so long.
func (q *lineQueue) flush(atMost time.Duration) {
	limit := time.After(atMost)
	flushed := make(chan struct{})
	select {
	case q.queue <- queued{flushed: flushed}:
	case <-limit:
		return
	}
	select {
	case <-flushed:
	case <-limit:
	}
}

// checkedOutput is stdout, and remembers that it could not be written to, which cobra forgets.
type checkedOutput struct {
	to  io.Writer
	err error // the first
}

func (o *checkedOutput) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}
