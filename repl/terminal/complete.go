package terminal

import "strings"

// completer is what readline asks at Tab.
type completer struct{ t *Terminal }

// Do returns what may be appended at the cursor, and how many runes of it are there already.
func (c *completer) Do(line []rune, pos int) (suffixes [][]rune, length int) {
	if c.t.c.Complete == nil {
		return nil, 0
	}
	before, err := unpadded(string(line[:pos]))
	if err != nil {
		return nil, 0
	}
	candidates, word := c.t.c.Complete(before)
	for _, s := range candidates {
		if rest, ok := strings.CutPrefix(s, word); ok {
			suffixes = append(suffixes, padded([]rune(rest)))
		}
	}
	if len(suffixes) == 1 {
		return [][]rune{append(suffixes[0], ' ')}, len([]rune(word))
	}
	if !c.fits(candidates, len(line)) {
		if common := commonPrefix(suffixes); len(common) > 0 {
			return [][]rune{common}, len([]rune(word))
		}
		return nil, 0
	}
	return suffixes, len(padded([]rune(word)))
}

// fits reports whether readline can list the candidates: each in one row, all on the screen, below a line of one row.
func (c *completer) fits(candidates []string, lineLength int) bool {
	width, widest := c.t.width(), 0
	for _, s := range candidates {
		widest = max(widest, len(padded([]rune(s))))
	}
	columns := (width - 1) / (widest + 1)
	return columns > 0 && lineLength+20 < width && (len(candidates)+columns-1)/columns < c.t.height()-2
}

func commonPrefix(all [][]rune) []rune {
	if len(all) == 0 {
		return nil
	}
	common := all[0]
	for _, s := range all[1:] {
		n := 0
		for n < len(common) && n < len(s) && common[n] == s[n] {
			n++
		}
		common = common[:n]
	}
	return common
}
