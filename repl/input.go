package repl

import (
	"context"
	"io"
)

// input is stdin, or a file, as a command reads it. Its errors are those of a local file, and a Read that waits, for a
// terminal or a pipe, is given up when ctx ends.
type input struct {
	ctx    context.Context
	from   io.Reader
	chunks chan chunk // what was read; one at a time is asked for
	buffer []byte     // belongs to the reading goroutine, until that has sent the chunk
	rest   []byte     // of the last chunk
	err    error      // what ended it
}

// chunk is what one Read brought.
type chunk struct {
	b   []byte
	err error
}

const inputBuffer = 64 << 10

func newInput(ctx context.Context, from io.Reader) *input {
	return &input{ctx: ctx, from: from, chunks: make(chan chunk, 1), buffer: make([]byte, inputBuffer)}
}

// stdin returns what the command reads from stdin.
func (c *call) stdin() *input { return newInput(c.ctx, c.env.In) }

func (i *input) Read(b []byte) (int, error) {
	if len(i.rest) == 0 && i.err == nil {
		i.fill()
	}
	if len(i.rest) == 0 {
		return 0, i.err
	}
	n := copy(b, i.rest)
	i.rest = i.rest[n:]
	return n, nil
}

// fill waits for what comes next.
func (i *input) fill() {
	if i.err = i.ctx.Err(); i.err != nil {
		return
	}
	go func() {
		n, err := i.from.Read(i.buffer)
		i.chunks <- chunk{i.buffer[:n], err}
	}()
	select {
	case <-i.ctx.Done():
		i.err = i.ctx.Err() // the goroutine stays behind, with its buffer
	case c := <-i.chunks:
		if i.rest, i.err = c.b, c.err; c.err != nil && c.err != io.EOF {
			i.err = fileError{c.err}
		}
	}
}
