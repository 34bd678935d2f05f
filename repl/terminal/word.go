package terminal

import "unicode"

// byWords does what a key does to a line by words: letters and digits of any script. Ctrl-W goes by blanks, as shells have
// it. readline knows the words of ASCII alone, and Ctrl-W deletes all of a line in another script.
func byWords(line []rune, pos int, key rune) ([]rune, int) {
	in := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || filler(r) != 0 || standIn(r)
	}
	if key == keyKillWord {
		in = func(r rune) bool { return r != ' ' && r != tab }
	}
	from, to := pos, pos
	switch key {
	case keyWordLeft, keyWordErase, keyKillWord:
		for from > 0 && !in(line[from-1]) {
			from--
		}
		for from > 0 && in(line[from-1]) {
			from--
		}
	default:
		for to < len(line) && !in(line[to]) {
			to++
		}
		for to < len(line) && in(line[to]) {
			to++
		}
	}
	switch key {
	case keyWordLeft:
		return line, from
	case keyWordRight:
		return line, to
	}
	return append(append([]rune{}, line[:from]...), line[to:]...), from
}
