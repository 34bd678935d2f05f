package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// size is a number of bytes as a flag: 500, 64KiB, 128MiB, 2GB.
type size int64

var units = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1}, {"", 1},
}

// Set reads a size.
func (s *size) Set(text string) error {
	for _, u := range units {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
		if err != nil || n > uint64(math.MaxInt64/u.bytes) {
			break
		}
		*s = size(int64(n) * u.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a size such as 500, 64KiB, 128MiB or 2GB", text)
}

// String writes a size with the largest unit that divides it.
func (s size) String() string {
	for _, u := range units[:4] {
		if s != 0 && int64(s)%u.bytes == 0 {
			return fmt.Sprint(int64(s)/u.bytes, u.name)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Type is the flag's type in --help.
func (s *size) Type() string { return "size" }

// duration is a time.Duration as a flag, with an error that says what is right.
type duration time.Duration

// Set reads a duration.
func (d *duration) Set(text string) error {
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration such as 300ms, 30s or 2m", text)
	}
	*d = duration(v)
	return nil
}

// String writes a duration as Set reads it.
func (d duration) String() string { return time.Duration(d).String() }

// Type is the flag's type in --help.
func (d *duration) Type() string { return "duration" }
