package repl

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// longUnits are those of a duration that Go does not know. They stand first: 1w2d, 7d12h.
var longUnits = []struct {
	letter string
	length time.Duration
}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}}

var errDuration = errors.New("a duration above 0, such as 300ms, 30s, 1h30m, 7d or 2w")

// parsePositiveDuration reads a duration above 0: 300ms, 30s, 1h30m as in Go, and 7d, 2w.
func parsePositiveDuration(s string) (time.Duration, error) {
	var sum time.Duration
	rest := s
	for _, u := range longUnits {
		number, after, ok := strings.Cut(rest, u.letter)
		if !ok {
			continue
		}
		n, err := decimalNumber(number)
		long := n * float64(u.length)
		if err != nil || long >= math.MaxInt64 {
			return 0, errDuration
		}
		sum, rest = sum+time.Duration(math.Round(long)), after
	}
	if rest != "" && (rest == s || !strings.HasPrefix(rest, "+")) {
		short, err := time.ParseDuration(rest)
		if err != nil || short < 0 {
			return 0, errDuration
		}
		sum, rest = sum+short, ""
	}
	if rest != "" || sum <= 0 { // the sum of three may be too long
		return 0, errDuration
	}
	return sum, nil
}

// sizeUnits are the units of a size, in lower case.
var sizeUnits = map[string]float64{
	"": 1, "b": 1,
	"k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "tb": 1e12,
	"ki": 1 << 10, "kib": 1 << 10, "mi": 1 << 20, "mib": 1 << 20, "gi": 1 << 30, "gib": 1 << 30, "ti": 1 << 40, "tib": 1 << 40,
}

var errSize = errors.New("a size such as 500, 64KiB, 128MiB or 2GB (4G is 4GB, 4Gi is 4GiB)")

// parseSize reads a number of bytes: K, M, G, T are powers of 1000, and with an i of 1024; a B may follow. What a fraction
// makes of a byte is left out.
func parseSize(s string) (int, error) {
	digits := strings.TrimRight(s, "bBiIkKmMgGtT")
	unit, ok := sizeUnits[strings.ToLower(s[len(digits):])]
	n, err := decimalNumber(strings.TrimSuffix(digits, " "))
	if err != nil || !ok || n*unit >= 1<<50 || unit == 1 && n != math.Trunc(n) {
		return 0, errSize
	}
	return int(n * unit), nil
}

// decimalNumber reads digits with at most one point among them.
func decimalNumber(s string) (float64, error) {
	if s == "" || strings.Trim(s, "0123456789.") != "" || s[0] == '.' || s[len(s)-1] == '.' {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(s, 64)
}
