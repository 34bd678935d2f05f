package terminal

import (
	"context"
	"fmt"
	"io"
)

// Ask asks for a line beside the commands, while one runs: without completion, and never in the history. What is typed is
// shown where echo says so. It ends with ErrInterrupt when ctx does, as Ctrl-C makes it.
//
// readline is not asked, for it would draw what is typed, or a mask that tells how long that is.
func (t *Terminal) Ask(ctx context.Context, prompt string, echo bool) (string, error) {
	stop := context.AfterFunc(ctx, t.keys.wake)
	defer stop()
	io.WriteString(t.c.Out, prompt)
	defer io.WriteString(t.c.Out, "\n")
	var line []rune
	for {
		e, err := t.keys.next1(ctx)
		if err != nil {
			return "", err
		}
		switch {
		case e.r == keyEnter || e.r == keyNewline:
			return unpadded(string(line))
		case e.r == keyBackspace || e.r == keyBackspace2:
			if n := len(line); n > 0 {
				if echo {
					for range columns(string(line[n-1])) {
						io.WriteString(t.c.Out, "\b \b")
					}
				}
				line = line[:n-1]
			}
		case e.r == keyKillFront:
			if echo {
				fmt.Fprintf(t.c.Out, "\r\x1b[K%s", prompt)
			}
			line = line[:0]
		case e.text():
			line = append(line, e.r)
			if echo {
				io.WriteString(undrawn{t.c.Out}, string(e.r))
			}
		}
	}
}
