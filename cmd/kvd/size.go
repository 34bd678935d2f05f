package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// size is a number of bytes as a flag: 500, 64KiB, 128MiB, 2GB, 1.5GiB. Without the B it is the same: 4G is 4GB, a power of
// 1000, and 4Gi is 4GiB, of 1024. kvc reads sizes and durations in the same way.
type size int64

// units are those that a size is written in, the largest first.
var units = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// unitsRead are those that a size may be read in, in lower case.
var unitsRead = map[string]int64{
	"": 1, "b": 1,
	"k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "tb": 1e12,
	"ki": 1 << 10, "kib": 1 << 10, "mi": 1 << 20, "mib": 1 << 20, "gi": 1 << 30, "gib": 1 << 30, "ti": 1 << 40, "tib": 1 << 40,
}

// Set reads a size. What a fraction makes of a byte is left out.
func (s *size) Set(text string) error {
	wrong := fmt.Errorf("%q is not a size such as 500, 64KiB, 128MiB or 2GB", text)
	digits := strings.TrimRight(text, "bBiIkKmMgGtT")
	unit, ok := unitsRead[strings.ToLower(text[len(digits):])]
	digits = strings.TrimSpace(digits)
	if !ok || !decimal(digits) {
		return wrong
	}
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil && n <= math.MaxInt64/unit {
		*s = size(n * unit)
		return nil
	}
	f, err := strconv.ParseFloat(digits, 64)
	if f *= float64(unit); err != nil || f >= math.MaxInt64 || unit == 1 {
		return wrong
	}
	*s = size(f)
	return nil
}

// decimal reports whether s is digits with at most one point between them.
func decimal(s string) bool {
	whole, fraction, point := strings.Cut(s, ".")
	return whole != "" && (fraction != "" || !point) && strings.Trim(whole+fraction, "0123456789") == ""
}

// String writes a size with the largest unit that divides it.
func (s size) String() string {
	for _, u := range units {
		if s != 0 && int64(s)%u.bytes == 0 {
			return fmt.Sprint(int64(s)/u.bytes, u.name)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Type is the flag's type in --help.
func (s *size) Type() string { return "size" }

// duration is a time.Duration as a flag: as in Go, with days and weeks before the rest (7d, 2w, 1d12h), and with an error that
// says what is right.
type duration time.Duration

// Set reads a duration.
func (d *duration) Set(text string) error {
	wrong := fmt.Errorf("%q is not a duration such as 300ms, 30s or 2m", text)
	rest, sum := text, time.Duration(0)
	for _, u := range []struct {
		letter string
		length time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		number, after, ok := strings.Cut(rest, u.letter)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		if n *= float64(u.length); err != nil || !decimal(number) || n >= math.MaxInt64 || strings.HasPrefix(after, "+") {
			return wrong
		}
		rest, sum = after, sum+time.Duration(math.Round(n))
	}
	if rest != "" || rest == text {
		v, err := time.ParseDuration(rest)
		if err != nil || v < 0 {
			return wrong
		}
		sum += v
	}
	if sum < 0 { // too long
		return wrong
	}
	*d = duration(sum)
	return nil
}

// String writes a duration as Set reads it.
func (d duration) String() string { return time.Duration(d).String() }

// Type is the flag's type in --help.
func (d *duration) Type() string { return "duration" }
