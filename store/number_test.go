package store

import (
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSum(t *testing.T) {
	for _, test := range []struct {
		text string
		by   int64
		want int64
	}{
		{"0", 1, 1}, {"-1", 1, 0}, {"10", -20, -10},
		{"9223372036854775806", 1, math.MaxInt64}, {"-9223372036854775807", -1, math.MinInt64},
		{"9223372036854775807", math.MinInt64, -1}, {"-9223372036854775808", math.MaxInt64, -1},
		{"9223372036854775807", 0, math.MaxInt64},
	} {
		got, err := Sum([]byte(test.text), test.by)
		require.NoError(t, err, test.text)
		require.Equal(t, test.want, got, test.text)
	}
	for _, text := range []string{
		"", " ", "1 ", " 1", "+1", "01", "-0", "00", "-", "1.0", "1e3", "0x1", "1_000", "one", "1\n", "１", "\x00",
		"9223372036854775808", "-9223372036854775809", "99999999999999999999999999",
	} {
		_, err := Sum([]byte(text), 1)
		require.ErrorIs(t, err, ErrNotANumber, "%q", text)
	}
}

// Against numbers of any size: a sum is exact, or refused.
func TestSumIsExact(t *testing.T) {
	edges := rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{0, 1, -1, math.MaxInt64, math.MaxInt64 - 1, math.MinInt64, math.MinInt64 + 1}))
	rapid.Check(t, func(t *rapid.T) {
		n, by := edges.Draw(t, "n"), edges.Draw(t, "by")
		want := new(big.Int).Add(big.NewInt(n), big.NewInt(by))
		got, err := Sum([]byte(big.NewInt(n).String()), by)
		if !want.IsInt64() {
			require.ErrorIs(t, err, ErrOverflow)
			return
		}
		require.NoError(t, err)
		require.Equal(t, want.Int64(), got)
	})
}
