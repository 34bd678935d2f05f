package repl

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"kv/repl/terminal"
)

func TestHints(t *testing.T) {
	history := []string{"get old", "set greeting hello", "get older"}
	for line, want := range map[string]terminal.Hint{
		"":                   {},
		"  ":                 {},
		"get ol":             {Text: "der", Take: true}, // the newest
		"set":                {Text: " greeting hello", Take: true},
		"set greeting hello": {},
		"mset":               {Text: " KEY VALUE [KEY VALUE ...] | -"},
		"mset ":              {Text: "KEY VALUE [KEY VALUE ...] | -"},
		"SET ":               {Text: "KEY VALUE | KEY - | KEY --file F"},
		"SET k ":             {Text: "VALUE"},
		"SET 'a b' ":         {Text: "VALUE"},
		"SET --ttl 5s k ":    {Text: "VALUE"},
		"SET k v ":           {},
		"SET k":              {},
		"rollback k ":        {Text: "VERSION"},
		"rollback 'k ":       {},
		"nonsense ":          {},
		"txn ":               {}, // not in the shell
		"scan ":              {Text: "[PREFIX]"},
		"scan a ":            {},
		"exit":               {},
		"login ":             {Text: "[NAME]"},
	} {
		assert.Equal(t, want, hintLine(line, history), line)
	}
}
