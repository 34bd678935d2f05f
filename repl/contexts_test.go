package repl

import (
	"context"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What was in the file before a context is added to it is there after, whatever it was.
func TestAddingAContextKeepsTheRest(t *testing.T) {
	const added = "contexts:\n  new:\n    addr: localhost:7070\n"
	for before, want := range map[string]string{
		"":                                      added,
		"# only\n# comments\n":                  "# only\n# comments\n\n" + added,
		"contexts:\n":                           added,
		"contexts: {}\n":                        added,
		"# head\ncontexts: # here\n":            "# head\ncontexts: # here\n  new:\n    addr: localhost:7070\n",
		"current: old\n":                        "current: old\n" + added,
		"contexts: {a: {addr: x, tls: true}}\n": "contexts:\n  a: {addr: x, tls: true}\n  new:\n    addr: localhost:7070\n",
		"---\ncontexts:\n  a: &a {addr: x}\n  b: *a\n": "contexts:\n  a: &a {addr: x}\n  b: *a\n  new:\n    addr: localhost:7070\n",
	} {
		file := t.TempDir() + "/kv/config"
		if before != "" {
			require.NoError(t, os.MkdirAll(file[:len(file)-len("/config")], 0o700))
			require.NoError(t, os.WriteFile(file, []byte(before), 0o600))
		}
		unlock, err := lockContexts(t.Context(), file)
		require.NoError(t, err, before)
		defer unlock()
		c, err := readContexts(t.Context(), file)
		require.NoError(t, err, before)
		require.NoError(t, c.add("new", map[string]string{"addr": "localhost:7070"}))
		require.NoError(t, c.write(t.Context()))
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Equal(t, want, string(b), before)
		again, err := readContexts(t.Context(), file)
		require.NoError(t, err)
		assert.Equal(t, c.all, again.all)
	}
}

func TestContextsThatAreWrong(t *testing.T) {
	for content, says := range map[string]string{
		"- a\n":                                   "line 1: names with something behind a colon are expected here",
		"prod\n":                                  "line 1: names",
		"current: [a]\n":                          "line 1: a text is expected here",
		"current:\n":                              "line 1: a text",
		"\ncontext: {}\n":                         "line 2: context is neither current nor contexts",
		"contexts: [a]\n":                         "line 1: names",
		"contexts:\n  a: x\n":                     "line 2: names",
		"contexts:\n  a:\n":                       "line 2: context a: addr is missing",
		"contexts:\n  a: {addr: {}}\n":            "line 2: context a: line 2: a text",
		"contexts:\n  a: {addr: x, port: 7}\n":    "port is none of addr, user",
		"contexts:\n  a: {addr: x, tls: maybe}\n": "tls maybe is wrong",
		"contexts:\n  a: {addr: x}\n  a: {addr: y}\n": "line 3: a is there twice",
		"contexts:\n  a: {addr: x, addr: y}\n":        "addr is there twice",
		"contexts: {a: {addr: x}\n":                   "line ",
		"\t\n":                                        "found character",
		"contexts: {a: {addr: \"x\\u0001\"}}\n":       "is wrong",
	} {
		file := t.TempDir() + "/config"
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		_, err := readContexts(t.Context(), file)
		assert.ErrorContains(t, err, file+": ", content)
		assert.ErrorContains(t, err, says, content)
		assert.Equal(t, exitUsage, exitCode(err), content)
		assert.NotContains(t, err.Error(), "unmarshal", content)
	}
}

// TestContextsFromAFIFO: whoever waits for a writer can be told to stop.
func TestContextsFromAFIFO(t *testing.T) {
	file := t.TempDir() + "/config"
	require.NoError(t, syscall.Mkfifo(file, 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := readContexts(ctx, file)
	assert.ErrorIs(t, err, context.Canceled)
	w, err := os.OpenFile(file, os.O_WRONLY, 0) // lets go of what waited
	require.NoError(t, err)
	require.NoError(t, w.Close())
}
