package resp

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the tables of docs/resp.md anew")

const page = "../../docs/resp.md"

// TestDocsHaveEveryCommand: the tables of docs/resp.md are made of the table of commands.
func TestDocsHaveEveryCommand(t *testing.T) {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	want := string(text)
	for heading, table := range map[string]string{"## Served": servedTable(), "## Not served": unservedTable()} {
		before, rest, ok := strings.Cut(want, "\n"+heading+"\n\n")
		require.True(t, ok, heading)
		_, after, ok := strings.Cut(rest, "\n\n")
		require.True(t, ok, heading)
		want = before + "\n" + heading + "\n\n" + table + "\n" + after
	}
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(want), 0o644))
	}
	assert.Equal(t, want, string(text), "`go test ./netserver/resp -run TestDocs -update` writes it")
}

func servedTable() string {
	var b strings.Builder
	b.WriteString("| command | since | does | differs |\n|---|---|---|---|\n")
	row := func(c *Command) {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", strings.ToUpper(strings.ReplaceAll(c.Name, "|", " ")), c.Since,
			strings.ReplaceAll(c.Summary, "|", `\|`), c.Note)
	}
	for _, c := range table {
		if c.run != nil || c.do != nil {
			row(c)
		}
		for _, sub := range c.Subs {
			row(sub)
		}
	}
	return b.String()
}

func unservedTable() string {
	var b strings.Builder
	b.WriteString("| commands | why |\n|---|---|\n")
	for _, u := range notServedCommands {
		fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(strings.ToUpper(u.names), ", ", "`, `"), u.why)
	}
	return b.String()
}

// TestTheTableIsWhole: each row has what is needed to serve it, and none can be used by who may only read though it writes.
func TestTheTableIsWhole(t *testing.T) {
	seen := make(map[string]bool)
	var check func(c *Command, container string)
	check = func(c *Command, container string) {
		assert.False(t, seen[c.Name], "%s is there twice", c.Name)
		seen[c.Name] = true
		assert.Equal(t, strings.ToLower(c.Name), c.Name)
		assert.NotZero(t, c.Arity, c.Name)
		assert.NotEmpty(t, c.Group, c.Name)
		assert.NotEmpty(t, c.Since, c.Name)
		assert.NotEmpty(t, c.Summary, c.Name)
		assert.Empty(t, notServed([]byte(strings.ReplaceAll(c.Name, "|", " "))), "%s is served", c.Name)
		hasKeys := c.First > 0 || c.keysOf != nil
		assert.Equal(t, hasKeys && c.Name != "watch", c.run != nil, "%s: what works on keys names them", c.Name)
		assert.False(t, c.run != nil && c.do != nil, c.Name)
		assert.False(t, c.run == nil && c.do == nil && c.Subs == nil, c.Name)
		if c.run != nil {
			assert.NotZero(t, c.Flags&(FlagRead|FlagWrite), c.Name)
		}
		if container != "" {
			assert.True(t, strings.HasPrefix(c.Name, container+"|"), c.Name)
		}
		for _, sub := range c.Subs {
			check(sub, c.Name)
		}
	}
	for _, c := range table {
		check(c, "")
		assert.Same(t, c, find([][]byte{[]byte(strings.ToUpper(c.Name))}))
	}
	for _, sub := range find([][]byte{[]byte("client")}).Subs {
		assert.Same(t, sub, find([][]byte{[]byte("CLIENT"), []byte(strings.ToUpper(sub.Name[len("client|"):]))}))
	}
}

// TestWhoReadsWritesNothing runs each command that who may only read may use on keys that refuse to be written.
func TestWhoReadsWritesNothing(t *testing.T) {
	for _, c := range table {
		for _, c := range append(slices.Clone(c.Subs), c) {
			if c.run == nil || c.Flags&FlagRead == 0 {
				continue
			}
			args := make([][]byte, max(c.Arity, -c.Arity))
			for i := range args {
				args[i] = []byte("1")
			}
			k := call{keyspace: snapshot{}, reply: new(reply), cmd: c, args: args, limits: everything}
			assert.NotPanics(t, func() { c.run(&k) }, c.Name)
		}
	}
}
