package repl

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestDurations(t *testing.T) {
	const day = 24 * time.Hour
	for s, want := range map[string]time.Duration{
		"300ms": 300 * time.Millisecond, "30s": 30 * time.Second, "1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute, "+5s": 5 * time.Second,
		"7d": 7 * day, "2w": 14 * day, "1w2d": 9 * day, "1d12h": 36 * time.Hour, "0.5d": 12 * time.Hour, "1w1d1h1ms": 8*day + time.Hour + time.Millisecond,
		"15000w": 15000 * 7 * day,
	} {
		d, err := parsePositiveDuration(s)
		assert.NoError(t, err, s)
		assert.Equal(t, want, d, s)
	}
	for _, s := range []string{
		"", "0", "0s", "0d", "-1s", "-1d", "10", "d", "w", "1dd", "1d2w", "1h2d", "1d-2h", "1d+2h", "1d2", "7 d", "7D", "1e3d", "infd", "nand",
		"0x10d", "1.d", ".5d", "1.2.3d", "soon", "99999999w", "15250w3d", "15250w2000000h", "1y",
	} {
		_, err := parsePositiveDuration(s)
		assert.ErrorIs(t, err, errDuration, s)
	}
	_, err := parseTTL("1.5ms")
	assert.ErrorContains(t, err, "whole milliseconds")
	ms, err := parseTTL("7d")
	assert.NoError(t, err)
	assert.Equal(t, uint64(604_800_000), ms)
}

func TestSizes(t *testing.T) {
	for s, want := range map[string]int{
		"0": 0, "500": 500, "500B": 500, "64KiB": 64 << 10, "128MiB": 128 << 20, "2GB": 2e9, "4G": 4e9, "4Gi": 4 << 30, "1.5GiB": 3 << 29,
		"1.5g": 15e8, "64k": 64e3, "64K": 64e3, "64kB": 64e3, "512m": 512e6, "512Mi": 512 << 20, "1T": 1e12, "1TiB": 1 << 40, "0.5KiB": 512,
		"4 GiB": 4 << 30, "1.3KiB": 1331, "007": 7,
	} {
		n, err := parseSize(s)
		assert.NoError(t, err, s)
		assert.Equal(t, want, n, s)
	}
	for _, s := range []string{"", "G", "big", "-1", "+1", "1.5", "1.5B", "1e3", "0x10", "4GG", "4iB", "4Bi", "4 0",
		"4  G", " 4", "1.G", "nan", "1P", "2000TiB"} {
		_, err := parseSize(s)
		assert.ErrorIs(t, err, errSize, s)
	}
}
