package terminal

import (
	"fmt"
	"strings"
)

// Hint is a text that is shown in grey behind the line that is being typed.
type Hint struct {
	Text string
	Take bool // Right, or End, at the end of the line takes it into the line
}

// Paint is what readline draws for its buffer: the line, and a hint where the cursor stands at its end and the row has room.
// The cursor goes back over the hint; all of it is wiped before the line is drawn again.
func (t *Terminal) Paint(line []rune, pos int) []rune {
	hint := t.hint(line, pos)
	used := columns(*t.prompt.Load()) + columns(string(line))
	room := t.width() - 1 - used%t.width()
	if hint.Text == "" || room < 4 || used%t.width() == 0 {
		return line
	}
	text := cut(hint.Text, room)
	return append(append([]rune{}, line...), []rune(fmt.Sprintf("\x1b[90m%s\x1b[0m\x1b[%dD", text, columns(text)))...)
}

// hint is the hint for a line; none while something else than its end is edited.
func (t *Terminal) hint(line []rune, pos int) Hint {
	rl := t.edit.rl.Load()
	if t.c.Hint == nil || len(line) == 0 || pos != len(line) || rl == nil || rl.Operation.IsSearchMode() {
		return Hint{}
	}
	text, err := unpadded(string(line))
	if err != nil || strings.ContainsAny(text, "\n\t") {
		return Hint{}
	}
	h := t.c.Hint(text, *t.recent.Load())
	for _, r := range h.Text {
		if r < ' ' || filler(r) != 0 || standIn(r) { // a hint is drawn as it is, one column for each rune
			return Hint{}
		}
	}
	return h
}
