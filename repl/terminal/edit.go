package terminal

import (
	"bytes"
	"io"
	"sync/atomic"

	"github.com/chzyer/readline"
)

// editor stands between the keys and readline's buffer. readline calls it from the goroutine of its keys; but see OnChange.
type editor struct {
	keys       *keys
	hint       func(line []rune, pos int) Hint
	rl         atomic.Pointer[readline.Instance] // set once, before the first key
	searchable atomic.Bool                       // there is a history to search
	line       []rune                            // after the last key
	pos        int                               // of the cursor in it

	replacement []rune // what Tab made of the line; nil: nothing
	replacedPos int    // where the cursor stands in it
}

// filter sees each key before readline does.
func (e *editor) filter(r rune) (rune, bool) {
	op := e.rl.Load().Operation
	searching := op.IsSearchMode()
	switch {
	case r == keyInterrupt && searching:
		op.ExitSearchMode(true) // readline would leave the search on the screen; the line goes as without one
	case r == paste && searching:
		e.keys.unpaste()
		return 0, false
	case (r == keySearchBack || r == keySearchFwd) && !e.searchable.Load():
		return 0, false // readline would crash
	case r == del && len(e.line) == 0:
		return 0, false // readline would leave
	case r == del:
		return keyEOF, true
	}
	return r, true
}

// OnChange sees the line after each key, and may change it.
func (e *editor) OnChange(line []rune, pos int, key rune) (_ []rune, _ int, changed bool) {
	if line == nil && key == 0 {
		return nil, 0, false // as a line begins, from the goroutine that asks for it, beside that of the keys
	}
	if e.replacement != nil {
		line, pos, e.replacement = e.replacement, e.replacedPos, nil
		e.saw(line, pos)
		return line, pos, true
	}
	switch key {
	case keyWordLeft, keyWordRight, keyWordDelete, keyWordErase, keyKillWord:
		if before, at := e.line, e.pos; !e.rl.Load().Operation.IsSearchMode() {
			line, pos = byWords(before, at, key)
			e.saw(line, pos)
			return line, pos, true
		}
	}
	defer func() { e.saw(line, pos) }()
	if (key == keyForward || key == keyLineEnd) && e.pos == len(e.line) && pos == len(line) {
		if h := e.hint(line, pos); h.Take {
			line = append(append([]rune{}, line...), padded([]rune(h.Text))...)
			pos = len(line)
			return line, pos, true
		}
	}
	if len(line) == 0 || e.rl.Load().Operation.IsSearchMode() {
		return nil, 0, false
	}
	for i, r := range line {
		if r != paste {
			continue
		}
		text := padded(e.keys.takePasted())
		whole := append(append(append([]rune{}, line[:i]...), text...), line[i+1:]...)
		if pos > i {
			pos += len(text) - 1
		}
		line = whole
		return whole, pos, true
	}
	line, pos, changed = repad(line, pos, key)
	return line, pos, changed
}

// saw remembers the line as it is after a key.
func (e *editor) saw(line []rune, pos int) { e.line, e.pos = append(e.line[:0:0], line...), pos }

// repad makes each wide rune be followed by its stand-in again, and the cursor stand outside of the two.
func repad(line []rune, pos int, key rune) (_ []rune, _ int, changed bool) {
	out := make([]rune, 0, len(line)+4)
	at := pos
	for i := 0; i < len(line); i++ {
		r := line[i]
		f := filler(r)
		switch {
		case r == fill0 || r == fill1: // of a rune that is gone
			if i < pos {
				at--
			}
			changed = true
		case f == 0:
			out = append(out, r)
		case i+1 < len(line) && line[i+1] == f:
			out = append(out, r, f)
			if pos == i+1 { // between the two
				changed = true
				if key == keyForward || key == keyWordRight {
					at++
				} else {
					at--
				}
			}
			i++
		case i+1 == pos && (key == keyBackspace || key == keyBackspace2): // its stand-in was deleted: it was meant
			at--
			changed = true
		default:
			out = append(out, r, f)
			if i < pos {
				at++
			}
			changed = true
		}
	}
	return out, max(0, min(at, len(out))), changed
}

// padded returns text with a stand-in after each wide rune.
func padded(text []rune) []rune {
	out := make([]rune, 0, len(text))
	for _, r := range text {
		out = append(out, r)
		if f := filler(r); f != 0 {
			out = append(out, f)
		}
	}
	return out
}

// unpadded returns what was typed, without stand-ins.
func unpadded(text string) (string, error) {
	var out []rune
	for _, r := range text {
		switch r {
		case fill0, fill1, paste, del:
		case tab:
			out = append(out, '\t')
		case invalid:
			return "", ErrNotUTF8
		default:
			out = append(out, r)
		}
	}
	return string(out), nil
}

func standIn(r rune) bool { return r >= fill1 && r <= del || r == fill0 }

// undrawn keeps stand-ins off the terminal.
type undrawn struct{ w io.Writer }

var (
	standInLead = []byte("\uFDD0")[:2] // all but fill0 begin so
	drawnAs     = map[byte]string{0x91: " ", 0x92: "\uFFFD"}
)

func (u undrawn) Write(b []byte) (int, error) {
	n := len(b)
	if bytes.Contains(b, standInLead) {
		var out []byte
		for i := 0; i < len(b); i++ {
			if i+2 < len(b) && b[i] == standInLead[0] && b[i+1] == standInLead[1] && b[i+2] >= 0x90 && b[i+2] <= 0x94 {
				out = append(out, drawnAs[b[i+2]]...)
				i += 2
				continue
			}
			out = append(out, b[i])
		}
		b = out
	}
	b = bytes.ReplaceAll(b, []byte(string(fill0)), nil)
	if _, err := u.w.Write(b); err != nil {
		return 0, err
	}
	return n, nil
}
