package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	"kv/protocol"
)

// In a bash that knows nothing but kvc's script, Tab makes the key of what was typed, whatever bash takes for a word, and in
// whatever quotes: kvc then gets it.
func TestCompletionInBash(t *testing.T) {
	s := testServer(t)
	c := connect(t, s)
	for i, key := range []string{"ada@example.com", "ada@example.org", "user:1", "x=1",
		"with space", "it's", `a"b`, "p$q", "k;l", "m#n", "~home", "ключ:ю", "(z)"} {
		_, err := c.Set(context.Background(), protocol.Set{Key: []byte(key), Value: fmt.Appendf(nil, "value %d", i)})
		require.NoError(t, err)
	}
	cmd := s.kvc(t)
	bash := exec.Command("bash", "--norc", "--noprofile", "-i")
	bash.Env, bash.Dir = append(cmd.Env, "PS1=ready> ", "HISTFILE="), cmd.Dir
	k := onTTY(t, bash, pty.Winsize{Rows: 24, Cols: 80})
	k.expect("ready> ")
	k.send("source <(kvc completion bash); bind 'set bell-style none'\r")
	k.expect("ready> ")
	for typed, want := range map[string]int{
		"ada@\tc\t": 0, "ada@example.o\t": 1, "user:\t": 2, "us\t": 2, "x=\t": 3, "wi\t": 4, "with\\ s\t": 4, "\"wi\t": 4, "'with sp\t": 4,
		"it\t": 5, "a\\\"\t": 6, "p\t": 7, "'p$\t": 7, "\"p\t": 7, "k\t": 8, "m\t": 9, "\\~\t": 10, "ключ:\t": 11, "\\(\t": 12, "\"ada@example.c\t": 0,
	} {
		// A server that does not answer in time offers nothing, which on a busy machine may come once or twice.
		k.send("kvc get " + strings.ReplaceAll(typed, "\t", "\t\t\t\t") + "\r")
		k.expect(fmt.Sprintf("value %d\n", want))
		k.expect("ready> ")
	}
}
