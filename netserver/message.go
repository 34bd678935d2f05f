package netserver

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"kv/protocol"
)

// appendRefusal appends the answer e to a request. Its message stays on one line, and does nothing to a terminal.
func appendRefusal(dst []byte, op protocol.Opcode, id uint32, e *protocol.Error) []byte {
	if shown := printable(e.Message); shown != e.Message {
		changed := *e
		changed.Message = shown
		e = &changed
	}
	return protocol.AppendError(dst, op, id, e)
}

// printable returns text as UTF-8 in which whatever can't be seen, line breaks and controls among it, stands as an escape.
// Errors have names of files in them, and what the system says of those; both may hold anything.
func printable(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) < 0 {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1: // no UTF-8
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}
