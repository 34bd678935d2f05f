package printable

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestPrintable(t *testing.T) {
	for _, test := range []struct{ text, line, lines string }{
		{"", "", ""},
		{"café, 世界", "café, 世界", "café, 世界"},
		{"a\nb", `a\nb`, "a\nb"},
		{"\x1b[2J\a\t\r", `\x1b[2J\x07\x09\x0d`, `\x1b[2J\x07\x09\x0d`},
		{"\xff\xc3", `\xff\xc3`, `\xff\xc3`},
		{"\u0085\u202e\n", `\xc2\x85\xe2\x80\xae\n`, `\xc2\x85\xe2\x80\xae` + "\n"},
		{"\ufffd", "\ufffd", "\ufffd"}, // it was sent as that
		{`\x1b`, `\x1b`, `\x1b`},
	} {
		require.Equal(t, test.line, Line(test.text), "%q", test.text)
		require.Equal(t, test.lines, Lines(test.text), "%q", test.text)
		require.Equal(t, test.text == test.line, Is(test.text), "%q", test.text)
		require.True(t, Is([]byte(test.line)), "%q", test.text)
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\x00\xc2")
	f.Fuzz(func(t *testing.T, s string) {
		line := Line(s)
		require.True(t, Is(line))
		require.True(t, utf8.ValidString(line))
		require.Equal(t, line, Line(line))
	})
}
