package repl

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"kv/repl/words"
)

func names(all []candidate) (n []string) {
	for _, c := range all {
		n = append(n, c.word)
	}
	return n
}

// lineSession is a session at a prompt without a server.
func lineSession() *session {
	s := newSession(Env{Getenv: func(string) string { return "" }})
	s.mode = interactive
	return s
}

func TestCompleteLine(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o755))
	for _, name := range []string{"folder/in it", "records.txt", "report", ".hidden"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	t.Chdir(dir)
	s := lineSession()
	for before, want := range map[string][]string{
		"comm":                    {"commit"},
		"COMM":                    {"commit"},
		"nonsense ":               nil,
		"help exit":               {"exit-codes", "exit"},
		"timing ":                 {"on", "off"},
		"set k v --if":            {"--if-version", "--if-absent"},
		"set k v -- --if":         nil,
		`set k v "--if`:           nil,
		"set k v --ttl ":          nil,
		"set --ttl 5s k v --p":    {"--print-version"},
		"set k v --ad":            nil, // the address is the connection's
		"get 'a":                  nil,
		`get "a"`:                 nil,
		"bench --distribution ":   {"uniform", "zipf"},
		"bench --distribution=z":  {"--distribution=zipf"},
		"connect ":                {"127.0.0.1:7070"},
		"connect 127.0.0.1:70":    {"127.0.0.1:7070"},
		"import ":                 {"folder/", "records.txt", "report"},
		"import re":               {"records.txt", "report"},
		"import .":                {".hidden"},
		"import folder/":          {`"folder/in it"`},
		`import "folder/`:         {`"folder/in it"`},
		"import ./folder/i":       {`"./folder/in it"`},
		"import nowhere/":         nil,
		"backup fo":               {"folder/"},
		"set k --file rec":        {"records.txt"},
		"set k --file=folder/in":  {`--file="folder/in it"`},
		`set k --file="folder/in`: {`--file="folder/in it"`},
		"import records.txt ":     nil,
		"get --version ":          nil, // of which key?
		`import 'folder/in`:       {`"folder/in it"`},
	} {
		assert.ElementsMatch(t, want, s.completeLine(context.Background(), "", before, nil).List, before)
	}
	all := s.completeLine(context.Background(), "", "  ", nil)
	assert.Empty(t, all.Text)
	assert.Equal(t, 2, all.Start)
	assert.Subset(t, all.List, []string{"get", "begin", "exit", "stats"})
	assert.NotContains(t, all.List, "txn")

	for before, want := range map[string]string{ // what the line becomes
		"comm":                   "commit ",
		"COMM":                   "commit ",
		"import re":              "import re",
		"import rec":             "import records.txt ",
		"import fo":              "import folder/",
		"import folder/":         `import "folder/in it" `,
		`import 'folder/i`:       `import 'folder/in it' `,
		`import "folder/i`:       `import "folder/in it" `,
		"set k --file=folder/in": `set k --file="folder/in it" `,
		"bench --distribution=u": "bench --distribution=uniform ",
		"connect ":               "connect 127.0.0.1:7070 ",
	} {
		c := s.completeLine(context.Background(), "", before, nil)
		if c.Text == "" {
			c.Text = before[c.Start:]
		}
		assert.Equal(t, want, before[:c.Start]+c.Text, before)
	}

	// In the second line of a command it knows what the first one was.
	assert.Equal(t, []string{"--print-version"}, s.completeLine(context.Background(), "set k 'one\n", "two' --p", nil).List)
	assert.Empty(t, s.completeLine(context.Background(), "set k 'one\n", "get", nil).List)

	s.txn = newTransaction()
	assert.Subset(t, s.completeLine(context.Background(), "", "", nil).List, []string{"get", "set", "commit", "help"})
	assert.NotContains(t, s.completeLine(context.Background(), "", "", nil).List, "scan")
	s.txn.failed = true
	assert.ElementsMatch(t, []string{"commit", "abort", "help", "timing", "exit", "quit"},
		s.completeLine(context.Background(), "", "", nil).List)
}

func TestACandidateAsItIsTyped(t *testing.T) {
	for _, tt := range []struct {
		word        string
		quote       byte
		whole, open string
	}{
		{"a", 0, "a", "a"},
		{"a b", 0, `"a b"`, `"a b`},
		{"a b", '\'', `'a b'`, `'a b`},
		{"it's", 0, `"it's"`, `"it's`},
		{"it's", '\'', `"it's"`, `"it's`},
		{`say "x"`, 0, `"say \"x\""`, `"say \"x\"`},
		{`say "x"`, '\'', `'say "x"'`, `'say "x"`},
		{"a", '"', `"a"`, `"a`},
		{"\xff\n", 0, `"\xff\n"`, `"\xff\n`},
		{"\xff", '\'', `"\xff"`, `"\xff`},
		{"-x", 0, `"-x"`, `"-x`},
		{"#x", 0, `"#x"`, `"#x`},
		{"é漢", 0, "é漢", "é漢"},
	} {
		c := candidate{word: tt.word}
		assert.Equal(t, tt.whole, c.typed(tt.quote, true))
		assert.Equal(t, tt.open, c.typed(tt.quote, false))
	}
}

func TestCompletionKnowsWhereKeysGo(t *testing.T) {
	for line, want := range map[string]bool{
		"get ": true, "get a ": false, "mget a ": true, "set ": true, "set a ": false, "mset a b ": true, "mset a ": false,
		"del a b ": true, "stats ": false, "get --version 5 ": true, "history ": true, "get -- ": true, "connect ": false,
	} {
		c := completion{mode: interactive, keys: func(string) []string { return []string{"key"} }}
		fields := strings.Fields(line)
		for _, f := range fields {
			c.words = append(c.words, words.Word{Text: f})
		}
		found, _ := c.candidates()
		assert.Equal(t, want, slices.Contains(names(found), "key"), line)
	}
}

func TestCompletionKnowsWhereVersionsGo(t *testing.T) {
	versions := func(key string, n int) []candidate {
		return []candidate{fixed("12"+key, ""), fixed("11"+key, "")}[:min(n, 2)]
	}
	for line, want := range map[string][]string{
		"get 5 --version ": {"125", "115"}, "get --version 12 ": nil, "rollback 5 ": {"125", "115"},
		"set 5 v --if-version ": {"125"}, "set 5 --if-version= ": nil,
	} {
		c := completion{mode: interactive, keys: func(string) []string { return nil }, versions: versions}
		for _, f := range strings.Fields(line) {
			c.words = append(c.words, words.Word{Text: f})
		}
		found, _ := c.candidates()
		assert.Equal(t, want, names(found), line)
	}
}

// Whatever stands on the line, completion changes nothing but its last word, and makes a line that can be read.
func TestCompletionChangesTheLastWord(t *testing.T) {
	s := lineSession()
	pieces := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"get ", "set ", "--", "-", "\"", "'",
		" ", "\t", "\\", "é", "help ", "--ttl "}))
	rapid.Check(t, func(t *rapid.T) {
		before := strings.Join(rapid.SliceOfN(pieces, 0, 8).Draw(t, "before"), "")
		c := s.completeLine(context.Background(), "", before, nil)
		require.LessOrEqual(t, c.Start, len(before))
		if c.Text != "" {
			_, err := words.Split(before[:c.Start] + c.Text)
			require.True(t, err == nil || errors.Is(err, words.ErrOpenQuote), "%q and %q", before, c.Text)
		}
	})
}

const bashBreaks = " \t\n\"'@><=;|&(:" // of bash as Debian has it

// Whatever a key is, what bash is given makes that key of the word, wherever bash thinks that the word begins.
func TestBashQuoting(t *testing.T) {
	parts := rapid.SampledFrom([]string{"a", "b", "@", ":", "=",
		" ", "'", "\"", "$", "\\", "`", "(", "&", ";", "#", "~", "*", "é", "!", "|", "-"})
	rapid.Check(t, func(t *rapid.T) {
		key := strings.Join(rapid.SliceOfN(parts, 1, 8).Draw(t, "key"), "")
		quote := rapid.SampledFrom([]byte{0, '"', '\''}).Draw(t, "quote")
		typed := rapid.IntRange(0, len(key)).Draw(t, "typed")
		for !utf8.RuneStart((key + "x")[typed]) {
			typed--
		}
		start, ok := bashQuoted(key[:typed], quote, true)
		if !ok {
			return
		}
		line := "kvc get "
		if quote != 0 {
			line += string(quote)
		}
		ws := bashWords(line + start)
		last := ws[len(ws)-1]
		require.Equal(t, key[:typed], last.text)
		require.Equal(t, quote, last.quote)
		known, open := last.known(bashBreaks)
		require.True(t, strings.HasPrefix(key[:typed], known))
		require.Equal(t, quote, open)
		rest, ok := bashQuoted(key[len(known):], open, known == "")
		if !ok {
			return
		}
		kept, _ := bashQuoted(known, quote, true)
		ws = bashWords(line + kept + rest)
		require.Equal(t, key, ws[len(ws)-1].text, "%s%s%s", line, kept, rest)
	})
}

func TestBashWords(t *testing.T) {
	for line, want := range map[string][]string{
		"kvc":               {"kvc"},
		"kvc ":              {"kvc", ""},
		"kvc get ada@":      {"kvc", "get", "ada@"},
		`kvc get a\ b`:      {"kvc", "get", "a b"},
		`kvc get "a b`:      {"kvc", "get", "a b"},
		`kvc get 'a b' c`:   {"kvc", "get", "a b", "c"},
		`kvc get "a\"\x" `:  {"kvc", "get", `a"\x`, ""},
		`kvc get ''`:        {"kvc", "get", ""},
		`kvc get a"b c"d'e`: {"kvc", "get", "ab cde"},
		`kvc get a\`:        {"kvc", "get", `a\`},
	} {
		var got []string
		for _, w := range bashWords(line) {
			got = append(got, w.text)
		}
		assert.Equal(t, want, got, line)
	}
}

func TestTheNearestCommand(t *testing.T) {
	s := newSession(Env{})
	for typed, want := range map[string]string{"gte": "get", "sett": "set", "stat": "stats", "hist": "history",
		"delete": "del", "mgte": "mget", "pin": "ping", "exprot": "export"} {
		assert.ErrorContains(t, s.unknownCommand(typed, nil), `the nearest is "`+want+`"`, typed)
	}
}
