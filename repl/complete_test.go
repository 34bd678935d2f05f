package repl

import (
	"context"
	"slices"
	"strings"
	"testing"

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

func TestCompleteLine(t *testing.T) {
	s := newSession(Env{})
	s.mode = interactive
	for before, want := range map[string][]string{
		"":                     nil, // checked below
		"comm":                 {"commit"},
		"nonsense ":            nil,
		"help exit":            {"exit-codes", "exit"},
		"timing ":              {"on", "off"},
		"set k v --if":         {"--if-version", "--if-absent"},
		"set k v -- --if":      nil,
		`set k v "--if`:        nil,
		"set k v --ttl ":       nil,
		"set --ttl 5s k v --p": {"--print-version"},
		"set k v --ad":         nil, // the address is the connection's
		"get 'a":               nil,
		`get "a"`:              nil,
	} {
		all, _ := s.completeLine(context.Background(), before)
		if before != "" {
			assert.ElementsMatch(t, want, all, before)
		}
	}
	all, word := s.completeLine(context.Background(), "  ")
	assert.Empty(t, word)
	assert.Subset(t, all, []string{"get", "begin", "exit", "stats"})
	assert.NotContains(t, all, "txn")
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

// Whatever stands on the line, completion adds to what was typed.
func TestCompletionOnlyAdds(t *testing.T) {
	s := newSession(Env{})
	s.mode = interactive
	pieces := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"get ", "set ", "--", "-", "\"", "'", " ", "\t", "\\", "é", "help ", "--ttl "}))
	rapid.Check(t, func(t *rapid.T) {
		before := strings.Join(rapid.SliceOfN(pieces, 0, 8).Draw(t, "before"), "")
		all, word := s.completeLine(context.Background(), before)
		require.True(t, strings.HasSuffix(before, word))
		for _, c := range all {
			require.True(t, strings.HasPrefix(c, word), "%q for %q", c, word)
		}
	})
}

func TestTheNearestCommand(t *testing.T) {
	s := newSession(Env{})
	for typed, want := range map[string]string{"gte": "get", "sett": "set", "stat": "stats", "hist": "history", "delete": "del", "mgte": "mget", "pin": "ping", "exprot": "export"} {
		assert.ErrorContains(t, s.unknownCommand(typed, nil), `the nearest is "`+want+`"`, typed)
	}
}
