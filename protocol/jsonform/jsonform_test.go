package jsonform

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestNumbers(t *testing.T) {
	for text, want := range map[string]uint64{"0": 0, " 7 ": 7, "18446744073709551615": math.MaxUint64} {
		s := NewScanner([]byte(text))
		n, err := s.Uint()
		require.NoError(t, err)
		require.NoError(t, s.End())
		require.Equal(t, want, n)
	}
	for text, want := range map[string]int64{"-0": 0, "-9223372036854775808": math.MinInt64,
		"9223372036854775807": math.MaxInt64} {
		n, err := NewScanner([]byte(text)).Int()
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	for _, text := range []string{"", "-", "+1", "00", "01", "1.0", "1e3", "18446744073709551616", "-1", `"1"`, "null",
		strings.Repeat("1", 1000)} {
		_, err := NewScanner([]byte(text)).Uint()
		require.ErrorContains(t, err, "a whole number of 0 and above is wanted", text)
	}
	for _, text := range []string{"", "--1", "9223372036854775808", "-9223372036854775809", "1.5"} {
		_, err := NewScanner([]byte(text)).Int()
		require.ErrorContains(t, err, "a whole number of 64 bits is wanted", text)
	}
	s := NewScanner([]byte(" null null1"))
	require.True(t, s.Null())
	require.True(t, s.Null())
	require.False(t, s.Null())
	require.Error(t, s.End())
}

// TestWhereErrorsAre: an error names the place of the value, and the byte.
func TestWhereErrorsAre(t *testing.T) {
	s := NewScanner([]byte(`{"a": [{"b": "x"}, {"b": 5}]}`))
	_, err := s.Object([]string{"a"}, func(int) error {
		return s.Array(func() error {
			_, err := s.Object([]string{"b"}, func(int) error {
				_, err := s.Text()
				return err
			})
			return err
		})
	})
	require.EqualError(t, err, `a[1].b: a string is wanted, not '5' (byte 25)`)
	var where *Error
	require.ErrorAs(t, err, &where)
	require.Equal(t, 25, where.Offset)
}

// FuzzBytes: any bytes come through, as they are written here and as base64.
func FuzzBytes(f *testing.F) {
	for _, b := range []string{"", "a", "\xff", "\x00\x1f\x7f", `"\/`, "\b\f\n\r\t", "\u2028", "😀", "\xed\xa0\x80", "é\u200b"} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, written := range [][]byte{AppendBytes(nil, b),
			[]byte(`{"base64":"` + base64.StdEncoding.EncodeToString(b) + `"}`)} {
			require.True(t, json.Valid(written), "%s", written)
			s := NewScanner(bytes.Clone(written))
			got, err := s.Bytes()
			require.NoError(t, err, "%s", written)
			require.NoError(t, s.End())
			require.True(t, bytes.Equal(b, got), "%q became %q", b, got)
		}
	})
}

// FuzzScanner: what is read as a document is one to encoding/json too, which reads the same in it.
func FuzzScanner(f *testing.F) {
	for _, text := range []string{
		`{"keys":["a",{"base64":"/w=="}]}`, ` { "keys" : [ ] } `, `{"keys":["\ud83d\ude00\"\\\/\b\f\n\r\t\u00e9"]}`, `{"keys":["\ud83d"]}`, `{"keys":[{"base64":"/x=="}]}`,
		`{}`, `{"keys":["a"],"keys":[]}`, "{\"keys\":[\"\xff\"]}", `{"keys":["a",]}`, `{"keys":[]}x`, `{"k\u0065ys":["a"]}`, `[]`, ``, `{"keys":[null]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := NewScanner(bytes.Clone(text))
		var keys [][]byte
		there, err := s.Object([]string{"keys"}, func(int) error {
			return s.Array(func() error {
				key, err := s.Bytes()
				keys = append(keys, key)
				return err
			})
		})
		if err == nil {
			err = s.End()
		}
		var plain struct{ Keys []any }
		if err != nil {
			require.NotEmpty(t, err.Error())
			require.True(t, utf8.ValidString(err.Error()))
			return
		}
		require.NoError(t, json.Unmarshal(text, &plain))
		require.Len(t, plain.Keys, len(keys))
		require.Equal(t, there == 0, plain.Keys == nil)
		for i, k := range plain.Keys {
			switch k := k.(type) {
			case string:
				require.Equal(t, k, string(keys[i]))
			case map[string]any:
				require.Equal(t, k["base64"], base64.StdEncoding.EncodeToString(keys[i]))
			default:
				require.Fail(t, "neither", "%v", k)
			}
		}
	})
}
