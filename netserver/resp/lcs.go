package resp

// lcsCells is how large the table may be that is filled: that takes a hundredth of a second, which others may wait for.
const lcsCells = 4 << 20

// lcs is LCS key1 key2 [LEN] [IDX] [MINMATCHLEN n] [WITHMATCHLEN]: the longest common subsequence of two values.
func lcs(c *call) {
	o, ok := c.lcsOptions()
	if !ok {
		return
	}
	a, _ := c.value(c.args[1])
	b, _ := c.value(c.args[2])
	if cells := (int64(len(a)) + 1) * (int64(len(b)) + 1); cells > lcsCells {
		c.err("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
		return
	}
	if !c.room(4 * (len(a) + 1) * (len(b) + 1)) {
		return
	}
	t := newLCS(a, b)
	if o.length {
		c.int(int64(t.at(len(a), len(b))))
		return
	}
	common, matches := t.trace()
	if !o.indexes {
		c.bulk(common)
		return
	}
	c.dict(2)
	c.text("matches")
	n := 0
	for _, m := range matches {
		if m.length() >= o.least {
			n++
		}
	}
	c.array(n)
	for _, m := range matches {
		if m.length() < o.least {
			continue
		}
		if o.withLength {
			c.array(3)
		} else {
			c.array(2)
		}
		c.array(2)
		c.int(int64(m.a))
		c.int(int64(m.aEnd))
		c.array(2)
		c.int(int64(m.b))
		c.int(int64(m.bEnd))
		if o.withLength {
			c.int(m.length())
		}
	}
	c.text("len")
	c.int(int64(len(common)))
}

type lcsOptions struct {
	length, indexes, withLength bool
	least                       int64
}

func (c *call) lcsOptions() (o lcsOptions, ok bool) {
	for i := 3; i < len(c.args); i++ {
		switch word := c.args[i]; {
		case equalFold(word, "idx"):
			o.indexes = true
		case equalFold(word, "len"):
			o.length = true
		case equalFold(word, "withmatchlen"):
			o.withLength = true
		case equalFold(word, "minmatchlen") && i+1 < len(c.args):
			i++
			if o.least, ok = c.integer(i); !ok {
				return o, false
			}
		default:
			c.err(errSyntax)
			return o, false
		}
	}
	if o.length && o.indexes {
		c.err("ERR If you want both the length and indexes, please just use IDX.")
		return o, false
	}
	return o, true
}

// lcsTable has the lengths of the longest common subsequences of each prefix of a with each of b.
type lcsTable struct {
	a, b    []byte
	lengths []uint32
}

func newLCS(a, b []byte) *lcsTable {
	t := &lcsTable{a, b, make([]uint32, (len(a)+1)*(len(b)+1))}
	for i := range a {
		for j := range b {
			n := max(t.at(i, j+1), t.at(i+1, j))
			if a[i] == b[j] {
				n = t.at(i, j) + 1
			}
			t.lengths[(i+1)*(len(b)+1)+j+1] = n
		}
	}
	return t
}

func (t *lcsTable) at(i, j int) uint32 { return t.lengths[i*(len(t.b)+1)+j] }

// match is a run of bytes that both have: a[m.a:m.aEnd+1] is b[m.b:m.bEnd+1].
type match struct{ a, aEnd, b, bEnd int }

func (m match) length() int64 { return int64(m.aEnd - m.a + 1) }

// trace returns the subsequence and the runs that it is made of, last first.
func (t *lcsTable) trace() (common []byte, matches []match) {
	i, j := len(t.a), len(t.b)
	common = make([]byte, t.at(i, j))
	left := len(common)
	for i > 0 && j > 0 {
		switch {
		case t.a[i-1] == t.b[j-1]:
			i, j, left = i-1, j-1, left-1
			common[left] = t.a[i]
			if n := len(matches); n > 0 && matches[n-1].a == i+1 && matches[n-1].b == j+1 {
				matches[n-1].a, matches[n-1].b = i, j
			} else {
				matches = append(matches, match{i, i, j, j})
			}
		case t.at(i-1, j) > t.at(i, j-1):
			i--
		default:
			j--
		}
	}
	return common, matches
}
