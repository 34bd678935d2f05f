package resp

import (
	"bytes"
	"math"
	"math/big"
	"strconv"
)

// parseInt reads a signed 64-bit number as Redis does: decimal digits in the one form that it would print, without a sign +,
// spaces or leading zeros.
func parseInt(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	negative := b[0] == '-'
	if negative {
		b = b[1:]
	}
	if len(b) == 0 || b[0] == '0' && (len(b) > 1 || negative) {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		d := uint64(c - '0')
		if d > 9 || v > (math.MaxUint64-d)/10 {
			return 0, false
		}
		v = v*10 + d
	}
	switch {
	case negative && v <= 1<<63:
		return -int64(v), true
	case !negative && v <= math.MaxInt64:
		return int64(v), true
	}
	return 0, false
}

// floats are what INCRBYFLOAT counts with: 64 bits of mantissa, as Redis's long double has on x86.
const floatBits = 64

// Such a number is below 2^maxExponent, and 0 or at least 2^minExponent.
const (
	maxExponent = 16384
	minExponent = -16445
)

// parseFloat reads a number as Redis reads its long doubles. infinite is the sign of an infinite number, and 0 for
// others; n is set where it is 0.
func parseFloat(b []byte) (n *big.Float, infinite int, ok bool) {
	if len(b) == 0 || len(b) > 5<<10 || isSpace(b[0]) || bytes.IndexByte(b, '_') >= 0 {
		return nil, 0, false
	}
	text := string(b)
	digits := bytes.TrimLeft(b, "+-")
	sign := 1
	if b[0] == '-' {
		sign = -1
	}
	if len(b)-len(digits) <= 1 && (equalFold(digits, "inf") || equalFold(digits, "infinity")) {
		return nil, sign, true
	}
	if len(digits) == 0 || digits[0] != '.' && digits[0]-'0' > 9 {
		return nil, 0, false
	}
	if len(digits) > 1 && digits[0] == '0' && (digits[1]|0x20 == 'b' || digits[1]|0x20 == 'o') {
		return nil, 0, false
	}
	base := 10
	if len(digits) > 1 && digits[0] == '0' && digits[1]|0x20 == 'x' {
		base = 0
	}
	n, _, err := big.ParseFloat(text, base, floatBits, big.ToNearestEven)
	if err != nil || !inRange(n) || n.Sign() == 0 && !isZero(digits) {
		return nil, 0, false
	}
	return n, 0, true
}

// addFloats returns the sum; ok is false if it can't be a number of floatBits.
func addFloats(a, b *big.Float) (sum *big.Float, ok bool) {
	sum = new(big.Float).SetPrec(floatBits).Add(a, b)
	return sum, inRange(sum)
}

// isZero reports whether the digits of a number are zeros, and not only so few that it has become 0.
func isZero(digits []byte) bool {
	end := bytes.IndexAny(digits, "eEpP")
	if end < 0 || len(digits) > 1 && digits[1]|0x20 == 'x' {
		end = len(digits)
	}
	return !bytes.ContainsAny(digits[:end], "123456789abcdfABCDF")
}

func inRange(n *big.Float) bool {
	e := n.MantExp(nil)
	return !n.IsInf() && (n.Sign() == 0 || minExponent < e && e <= maxExponent)
}

// appendFloat appends n with at most 17 digits behind the point and no zeros at its end.
func appendFloat(dst []byte, n *big.Float) []byte {
	text := n.Append(nil, 'f', 17)
	text = bytes.TrimRight(text, "0")
	text = bytes.TrimSuffix(text, []byte{'.'})
	if string(text) == "-0" {
		text = text[1:]
	}
	return append(dst, text...)
}

// parseUint reads a SCAN cursor.
func parseUint(b []byte) (uint64, bool) {
	n, err := strconv.ParseUint(string(b), 10, 64)
	return n, err == nil
}

// equalFold reports whether b is lower, which has lower-case letters, in any case.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range b {
		c := b[i]
		if c-'A' < 26 {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
