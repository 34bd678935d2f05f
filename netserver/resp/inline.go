package resp

import "bytes"

// parseInline is parse for a request that is a line of words, as somebody types it.
func parseInline(dst [][]byte, p []byte) (args [][]byte, used int, err error) {
	end, err := lineEnd(p, "too big inline request")
	if end == 0 || err != nil {
		return dst, 0, err
	}
	line := bytes.TrimSuffix(p[:end-1], []byte{'\r'})
	args, ok := splitWords(dst, line)
	if !ok {
		return dst, 0, protocolError("unbalanced quotes in request")
	}
	return args, end, nil
}

// splitWords appends the words of line to dst. A word may be in double quotes, with the escapes of C, or in single quotes, with
// \' alone; what follows a closing quote has to be space. ok is false if it is not, or a quote is not closed.
func splitWords(dst [][]byte, line []byte) (words [][]byte, ok bool) {
	words = dst
	for {
		for len(line) > 0 && isSpace(line[0]) {
			line = line[1:]
		}
		if len(line) == 0 || line[0] == 0 { // as a string of C, the line ends there
			return words, true
		}
		word, rest, ok := splitWord(line)
		if !ok {
			return dst, false
		}
		words, line = append(words, word), rest
	}
}

func splitWord(line []byte) (word, rest []byte, ok bool) {
	plain := 0
	for plain < len(line) && !isSpace(line[plain]) && line[plain] != '"' && line[plain] != '\'' && line[plain] != 0 {
		plain++
	}
	if plain == len(line) || isSpace(line[plain]) {
		return line[:plain:plain], line[plain:], true
	}
	word = append(make([]byte, 0, len(line)), line[:plain]...)
	for line = line[plain:]; len(line) > 0 && !isSpace(line[0]) && line[0] != 0; {
		if quote := line[0]; quote == '"' || quote == '\'' {
			word, line, ok = unquote(word, line[1:], quote)
			if !ok || len(line) > 0 && !isSpace(line[0]) && line[0] != 0 {
				return nil, nil, false
			}
			return word, line, true
		}
		word, line = append(word, line[0]), line[1:]
	}
	return word, line, true
}

// unquote appends what is between the quote that has been read and the next to word.
func unquote(word, line []byte, quote byte) (_, rest []byte, ok bool) {
	for len(line) > 0 {
		b := line[0]
		switch {
		case b == quote:
			return word, line[1:], true
		case b != '\\' || len(line) == 1, quote == '\'' && line[1] != '\'':
			word, line = append(word, b), line[1:]
		case quote == '"' && line[1] == 'x' && len(line) >= 4 && isHex(line[2]) && isHex(line[3]):
			word, line = append(word, hexDigit(line[2])<<4|hexDigit(line[3])), line[4:]
		default:
			word, line = append(word, unescape(line[1])), line[2:]
		}
	}
	return nil, nil, false
}

func unescape(b byte) byte {
	switch b {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return b
}

func isSpace(b byte) bool { return b == ' ' || b >= '\t' && b <= '\r' }

func isHex(b byte) bool { return b-'0' < 10 || b|0x20-'a' < 6 }

func hexDigit(b byte) byte {
	if b <= '9' {
		return b - '0'
	}
	return b | 0x20 - 'a' + 10
}
