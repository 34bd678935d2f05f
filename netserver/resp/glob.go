package resp

// globMatch reports whether s is what the pattern says, as KEYS and SCAN have it: * any bytes, ? any one, [abc], [a-c], [^a], and
// \ before a byte that is meant as it stands.
//
// Only the last star is ever gone back to: what one before it has matched would do as well shorter. So it takes at most
// len(pattern) times len(s) steps.
func globMatch(pattern, s []byte) bool {
	star, from := -1, 0 // where the last star is, and where what it matches ends at the earliest
	p, i := 0, 0
	for i < len(s) || p < len(pattern) {
		if p < len(pattern) && pattern[p] == '*' {
			star, from = p, i
			p++
			continue
		}
		if i < len(s) && p < len(pattern) {
			if next, ok := globOne(pattern, p, s[i]); ok {
				p, i = next, i+1
				continue
			}
		}
		if star < 0 || from >= len(s) {
			return false
		}
		from++
		p, i = star+1, from
	}
	return true
}

// globOne reports whether c is what pattern has at p, which is no star, and where that ends.
func globOne(pattern []byte, p int, c byte) (next int, ok bool) {
	switch pattern[p] {
	case '?':
		return p + 1, true
	case '[':
		return globSet(pattern, p+1, c)
	case '\\':
		if p+1 < len(pattern) {
			p++
		}
	}
	return p + 1, pattern[p] == c
}

// globSet is globOne for a set that begins before p. One that is not closed reaches to the pattern's end.
func globSet(pattern []byte, p int, c byte) (next int, ok bool) {
	not := p < len(pattern) && pattern[p] == '^'
	if not {
		p++
	}
	for p < len(pattern) && pattern[p] != ']' {
		switch {
		case pattern[p] == '\\' && p+1 < len(pattern):
			p++
			ok = ok || pattern[p] == c
		case p+2 < len(pattern) && pattern[p+1] == '-':
			low, high := pattern[p], pattern[p+2]
			if low > high {
				low, high = high, low
			}
			ok = ok || low <= c && c <= high
			p += 2
		default:
			ok = ok || pattern[p] == c
		}
		p++
	}
	if p < len(pattern) {
		p++ // the bracket
	}
	return p, ok != not
}
