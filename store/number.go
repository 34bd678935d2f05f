package store

import (
	"errors"
	"math"
	"strconv"
)

// Numbers are kept as decimal text, so that whoever reads a counter, by whatever protocol, reads a number.

// The errors of Sum.
var (
	// ErrNotANumber: the text is not a whole number of 64 bits in decimal.
	ErrNotANumber = errors.New("the value is not a whole number of 64 bits in decimal")
	// ErrOverflow: the sum does not fit into 64 bits.
	ErrOverflow = errors.New("the sum is out of the 64 bits that a number has")
)

// Sum returns what text stands for plus by. Text is a signed 64-bit number as strconv writes it: digits, a minus before
// them where it is negative, and nothing else, no plus, space or leading zero. So Redis reads numbers too.
func Sum(text []byte, by int64) (int64, error) {
	var room [20]byte
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || string(strconv.AppendInt(room[:0], n, 10)) != string(text) {
		return 0, ErrNotANumber
	}
	if by > 0 && n > math.MaxInt64-by || by < 0 && n < math.MinInt64-by {
		return 0, ErrOverflow
	}
	return n + by, nil
}
