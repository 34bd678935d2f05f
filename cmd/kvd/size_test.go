package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]size{
		"0": 0, "500": 500, "500B": 500, "64KiB": 64 << 10, "128MiB": 128 << 20, "2GB": 2e9, "4G": 4e9, "4Gi": 4 << 30, "1.5GiB": 3 << 29, "4 GiB": 4 << 30,
		"512m": 512e6, "1Ti": 1 << 40, "0.5k": 500, "9223372036854775807": 1<<63 - 1, "8388607TiB": 8388607 << 40,
	} {
		var s size
		assert.NoError(t, s.Set(text), text)
		assert.Equal(t, want, s, text)
		again := size(1)
		assert.NoError(t, again.Set(s.String()), text)
		assert.Equal(t, s, again, text)
	}
	for _, text := range []string{"", "G", "big", "-1", "+1", "1.5", "1.5B", "1e3", "0x10", "4GG", "4iB", "4Bi", "1.G",
		".5G", "1.2.3G", "inf", "nanG", "1P", "9223372036854775808", "8388608TiB"} {
		s := size(7)
		assert.ErrorContains(t, s.Set(text), "is not a size", text)
		assert.Equal(t, size(7), s, text)
	}
}

func TestDurations(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "300ms": 300 * time.Millisecond, "1h30m": 90 * time.Minute, "7d": 7 * day, "2w": 14 * day, "1w2d3h": 9*day + 3*time.Hour, "0.5d": 12 * time.Hour, "0d": 0,
	} {
		var d duration
		assert.NoError(t, d.Set(text), text)
		assert.Equal(t, want, time.Duration(d), text)
		var again duration
		assert.NoError(t, again.Set(d.String()), text)
		assert.Equal(t, d, again, text)
	}
	for _, text := range []string{"", "5", "-1s", "-1d", "d", "1dd", "1d2w", "1h2d", "1d-2h", "1d+2h", "1d2", "7D",
		"1e3d", "infd", "1.d", "soon", "99999999w", "15250w3d", "15250w2000000h"} {
		d := duration(7)
		assert.ErrorContains(t, d.Set(text), "is not a duration", text)
		assert.Equal(t, duration(7), d, text)
	}
}
