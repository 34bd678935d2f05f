package terminal

import (
	"fmt"
	"strings"
)

// Completion is what Tab may do.
type Completion struct {
	Start int    // where in the line, in bytes, the word begins that is completed
	Text  string // what it becomes, a space behind it included where the word is whole; "": nothing is known for sure
	List  []string
	More  bool   // there are more than List has
	Note  string // what is to be said of the list; may be empty
}

// completer is what readline asks at Tab. readline can only append, and lists what fits on the screen below a line of one
// row or nothing at all; so this gives it nothing, but replaces the word through the editor, and lists above the line.
type completer struct{ t *Terminal }

// Do answers readline that there are no candidates, always.
func (c *completer) Do(line []rune, pos int) (suffixes [][]rune, length int) {
	t := c.t
	if t.c.Complete == nil {
		return nil, 0
	}
	before, err := unpadded(string(line[:pos]))
	after, err2 := unpadded(string(line[pos:]))
	if err != nil || err2 != nil {
		return nil, 0
	}
	typed, forget := t.keys.typed()
	found := t.c.Complete(before, typed)
	forget()
	if found.Text != "" && before[found.Start:] != found.Text {
		whole := before[:found.Start] + found.Text
		if strings.HasSuffix(found.Text, " ") && strings.HasPrefix(after, " ") {
			after = after[1:]
		}
		left := padded([]rune(whole))
		t.edit.replacement = append(left, padded([]rune(after))...)
		t.edit.replacedPos = len(left)
		return nil, 0
	}
	if list := t.list(found); list != "" {
		t.rl.Write([]byte(list))
	}
	return nil, 0
}

// list is the candidates in columns: the first of them, where there is no room for all.
func (t *Terminal) list(c Completion) string {
	width := t.width() - 1
	widest := 0
	for _, s := range c.List {
		widest = max(widest, columns(s))
	}
	perRow := max(1, (width+2)/(widest+2))
	rows := max(1, t.height()-3)
	shown := c.List[:min(len(c.List), perRow*rows)]
	rows = (len(shown) + perRow - 1) / perRow
	var b strings.Builder
	for r := range rows {
		for i := r; i < len(shown); i += rows { // down, then across
			s := shown[i]
			if i+rows < len(shown) {
				s += strings.Repeat(" ", widest+2-columns(s))
			}
			b.WriteString(cut(s, width))
		}
		b.WriteString("\n")
	}
	note := c.Note
	switch {
	case note != "":
	case c.More:
		note = fmt.Sprintf("%d of more than %d are shown", len(shown), len(c.List))
	case len(shown) < len(c.List):
		note = fmt.Sprintf("%d of %d are shown", len(shown), len(c.List))
	}
	if note != "" {
		b.WriteString(cut("("+note+")", width) + "\n")
	}
	return b.String()
}

// columns is how wide text is drawn.
func columns(text string) (n int) {
	for _, r := range text {
		n++
		if filler(r) != 0 {
			n++
		}
	}
	return n
}

// cut shortens text to a width.
func cut(text string, width int) string {
	n := 0
	for i, r := range text {
		w := columns(string(r))
		if n+w > width {
			return text[:i]
		}
		n += w
	}
	return text
}
