package repl

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/cli.md")

// TestReference holds docs/cli.md to the table of commands.
func TestReference(t *testing.T) {
	const page = "../docs/cli.md"
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(Markdown()), 0o644))
	}
	b, err := os.ReadFile(page)
	require.NoError(t, err)
	assert.Equal(t, Markdown(), string(b), "make it anew: go test ./repl -run Reference -update")
}

// TestTable holds each command to what help, completion and the man pages need of it.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range commands() {
		assert.False(t, seen[c.name], "%s is there twice", c.name)
		seen[c.name] = true
		assert.NotEmpty(t, c.examples, c.name)
		assert.Regexp(t, `^[A-Z].*\.$`, c.short, c.name)
		for _, e := range c.examples {
			assert.Regexp(t, `(^|kvc )(--addr \S+ )?`+c.name+`\b`, e.line)
			assert.NotEmpty(t, e.says)
		}
	}
}
