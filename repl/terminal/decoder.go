package terminal

import (
	"unicode"
	"unicode/utf8"
)

// decoder makes events of bytes.
type decoder struct {
	partial []byte // the start of an escape sequence or of a rune
	pasting bool   // between the marks of a bracketed paste
}

// decode takes one byte and emits the events that it completes.
func (d *decoder) decode(c byte, emit func(event)) {
	switch {
	case len(d.partial) > 0 && d.partial[0] == keyEscape:
		d.partial = append(d.partial, c)
		d.escape(emit)
	case len(d.partial) > 0 && c&0xc0 == 0x80:
		d.partial = append(d.partial, c)
		d.rune(emit)
	default:
		d.broken(emit)
		switch {
		case c == keyEscape:
			d.partial = append(d.partial[:0], c)
		case c >= utf8.RuneSelf:
			d.partial = append(d.partial[:0], c)
			d.rune(emit)
		default:
			d.control(c, emit)
		}
	}
}

// broken emits the bytes of a rune that was never finished.
func (d *decoder) broken(emit func(event)) {
	for range d.partial {
		emit(event{r: invalid})
	}
	d.partial = d.partial[:0]
}

// rune emits a rune once it is complete, or can't become one.
func (d *decoder) rune(emit func(event)) {
	if !utf8.FullRune(d.partial) {
		return
	}
	r, n := utf8.DecodeRune(d.partial)
	if r == utf8.RuneError && n == 1 {
		d.broken(emit)
		return
	}
	d.partial = d.partial[:0]
	switch {
	case standIn(r):
		emit(event{r: invalid})
	case unicode.IsControl(r): // C1: a terminal might act on it
		emit(event{r: invalid})
	default:
		emit(event{r: r})
	}
}

// control emits an ASCII byte: a letter, or a key that readline or take knows. NUL and the like are dropped.
func (d *decoder) control(c byte, emit func(event)) {
	switch {
	case c >= ' ' && c != keyBackspace:
		emit(event{r: rune(c)})
	case d.pasting && c == keyTab:
		emit(event{r: tab})
	case c == keyEnter || c == keyNewline:
		emit(event{r: keyEnter})
	case d.pasting:
		emit(event{r: invalid})
	case c == 0, c == 15, c == 17, c == 22, c == 24, c > keyEscape && c < ' ':
	default:
		emit(event{r: rune(c)})
	}
}

// escape emits an escape sequence once it is complete. A paste is told from typing by the marks around it.
func (d *decoder) escape(emit func(event)) {
	s := d.partial
	last := s[len(s)-1]
	switch {
	case len(s) == 2 && (s[1] == '[' || s[1] == 'O'):
		return
	case len(s) == 2 && s[1] == keyEscape: // Escape twice: the first meant nothing
		d.partial = s[:1]
		return
	case len(s) > 2 && s[1] == '[' && last >= ' ' && last < '@' && len(s) < 32:
		return // parameters
	}
	sequence := string(s)
	d.partial = d.partial[:0]
	switch sequence {
	case "\x1b[200~":
		d.pasting = true
	case "\x1b[201~":
		d.pasting = false
	case "\x1b[1~", "\x1b[7~":
		sequence = "\x1b[H"
		fallthrough
	case "\x1b[4~", "\x1b[8~":
		if sequence[2] != 'H' {
			sequence = "\x1b[F"
		}
		emit(event{sequence: sequence})
	case "\x1b[3~":
		emit(event{r: del})
	case "\x1b[1;5D", "\x1b[1;3D", "\x1b[5D", "\x1bOd": // Ctrl-Left, Alt-Left, as terminals send them
		emit(event{sequence: "\x1bb"})
	case "\x1b[1;5C", "\x1b[1;3C", "\x1b[5C", "\x1bOc":
		emit(event{sequence: "\x1bf"})
	case "\x1b[3;5~", "\x1b[3;3~": // Ctrl-Delete, Alt-Delete
		emit(event{sequence: "\x1bd"})
	default:
		switch {
		case d.pasting:
			emit(event{r: invalid})
		case last == '~' || last < ' ' || last >= utf8.RuneSelf: // keys that readline does not know
		default:
			emit(event{sequence: sequence})
		}
	}
}
