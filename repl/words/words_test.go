package words

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"kv/protocol/printable"
)

func texts(ws []Word) []string {
	all := []string{}
	for _, w := range ws {
		all = append(all, w.Text)
	}
	return all
}

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		``:                     {},
		"  \t ":                {},
		`get a`:                {"get", "a"},
		"  set\tk   v ":        {"set", "k", "v"},
		`set k ""`:             {"set", "k", ""},
		`set k ''`:             {"set", "k", ""},
		`"a b" 'c d'`:          {"a b", "c d"},
		`"\n\r\t\"\\\x00\xFf"`: {"\n\r\t\"\\\x00\xff"},
		`'\n "'`:               {`\n "`},
		`c:\path\x41`:          {`c:\path\x41`}, // nothing is special outside of quotes
		`foo"bar baz"`:         {"foobar baz"},  // as in redis-cli
		`--ttl="30s"`:          {"--ttl=30s"},
		"\"line\nline\"":       {"line\nline"},
		"get \xff":             {"get", "\xff"},
		`"caf\xc3\xa9" café`:   {"café", "café"},
	} {
		ws, err := Split(line)
		require.NoError(t, err, line)
		assert.Equal(t, want, texts(ws), line)
	}
}

func TestQuotedWordsAreMarked(t *testing.T) {
	ws, err := Split(`set "-k" -x --ttl="5s" '-'`)
	require.NoError(t, err)
	var quoted []bool
	var starts []int
	for _, w := range ws {
		quoted, starts = append(quoted, w.Quoted), append(starts, w.Start)
	}
	assert.Equal(t, []bool{false, true, false, false, true}, quoted)
	assert.Equal(t, []int{0, 4, 9, 12, 23}, starts)
}

func TestWrongLines(t *testing.T) {
	for line, want := range map[string]string{
		`set k "a\qb"`: `column 9: "\\q" is no escape`,
		`"\x4"`:        `column 2: \x needs two`,
		`"\xg0"`:       `column 2: \x needs two`,
		`"a"b`:         `column 4: a space is missing`,
		`'a''b'`:       `column 4: a space is missing`,
		`x"a"b`:        `column 5: a space is missing`,
	} {
		_, err := Split(line)
		assert.ErrorContains(t, err, want, line)
		assert.NotErrorIs(t, err, ErrOpenQuote, line)
	}
	for _, line := range []string{`"`, `set k "a`, `set k 'a`, `"a\"`, `"\`, `x'`, `set "a" "`} {
		_, err := Split(line)
		assert.ErrorIs(t, err, ErrOpenQuote, line)
	}
}

func TestQuote(t *testing.T) {
	for b, want := range map[string]string{
		"":               `""`,
		"caf\xc3\xa9":    `"café"`,
		"\xff\x00":       `"\xff\x00"`,
		"a\tb\n\r\"\\":   `"a\tb\n\r\"\\"`,
		"\x1b[31m\u009b": `"\x1b[31m\xc2\x9b"`,
	} {
		assert.Equal(t, want, Quote([]byte(b)))
	}
	for s, want := range map[string]string{"plain": "plain", "user:1": "user:1", "": `""`, "-x": `"-x"`, "#x": `"#x"`,
		"a b": `"a b"`, "it's": `"it's"`, `c:\x`: `c:\x`} {
		assert.Equal(t, want, Bare(s))
	}
}

func TestShortened(t *testing.T) {
	b, cut := AppendShortened(nil, []byte("0123456789"), 10)
	assert.Equal(t, `"0123456789"`, string(b))
	assert.False(t, cut)
	b, cut = AppendShortened(nil, []byte("0123456789x"), 10)
	assert.Equal(t, `"0123456789"…`, string(b))
	assert.True(t, cut)
	b, cut = AppendShortened(nil, []byte("\x00\x00\x00"), 5)
	assert.Equal(t, `"\x00\x00"…`, string(b))
	assert.True(t, cut)
}

func TestWhatIsShownCanBePastedBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }))
		words := rapid.SliceOfN(b, 1, 5).Draw(t, "words")
		var quoted, bare []string
		var want []string
		for _, w := range words {
			want = append(want, string(w))
			quoted = append(quoted, Quote(w))
			bare = append(bare, Bare(string(w)))
		}
		for _, line := range []string{strings.Join(quoted, " "), strings.Join(bare, "  ")} {
			require.True(t, printable.Is(line), "%q", line)
			ws, err := Split(line)
			require.NoError(t, err)
			require.Equal(t, want, texts(ws))
		}
	})
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{`set "a\x00" 'b' -c`, `"`, `a"b c"`, "\"\\", "x\ny", `''""`, "\xff\"\xff\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		ws, err := Split(line)
		if err != nil {
			return
		}
		var again []string
		for _, w := range ws {
			require.True(t, w.Start >= 0 && w.Start < len(line))
			again = append(again, Quote([]byte(w.Text)))
		}
		back, err := Split(strings.Join(again, " "))
		require.NoError(t, err)
		require.Equal(t, texts(ws), texts(back))
	})
}
