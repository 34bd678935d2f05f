package repl

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What other tools call something leads to what kvc calls it, and no word of theirs hides a command of ours.
func TestWordsFromElsewhere(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range elsewhere {
		if e.command != "" {
			assert.NotNil(t, findCommand(e.command), e.names)
			assert.Contains(t, e.says, e.command, e.names)
		}
		for _, name := range strings.Fields(e.names) {
			assert.Nil(t, findCommand(name), "%s is a command by now", name)
			assert.False(t, seen[name], "%s is there twice", name)
			seen[name] = true
		}
	}
}

func TestUnknownCommands(t *testing.T) {
	for name, says := range map[string]string{
		"gte": `the nearest is "get"`, "scna": `the nearest is "scan"`, "hist": `the nearest is "history"`, "delt": `the nearest is "del"`,
		"GTE": `the nearest is "get"`, "ste": `the nearest is "set"`, "g": `the nearest is "get"`,
		"keys": "scan PREFIX prints the keys", "exists": "meta KEY finds a key", "KEYS": "scan PREFIX", "FlushAll": "scan | kvc del -",
		"pexpire": "--ttl", "decr": "incr KEY -- -1", "auth": "--user NAME", "select": "one store", "dbsize": "how many keys",
	} {
		err := newSession(Env{}).unknownCommand(name, nil)
		assert.ErrorContains(t, err, says, name)
		assert.ErrorContains(t, err, "unknown command", name)
		assert.Equal(t, exitUsage, exitCode(err))
	}
	for _, name := range []string{"x", "foo", "frobnicate", "zz", "", "\xff\x1b", strings.Repeat("get", 1000)} {
		err := newSession(Env{}).unknownCommand(name, nil)
		assert.NotContains(t, err.Error(), "nearest", name)
	}
}

func TestPatterns(t *testing.T) {
	for prefix, says := range map[string]string{
		"user:*": "such as user:", "*": "all keys are meant", "user:?:name": "such as user:", "?": "all keys are meant", "a*b?": "such as a",
		"user:": "", "": "", "user:[1]": "",
	} {
		if says == "" {
			assert.Empty(t, pattern([]byte(prefix)))
		} else {
			assert.Contains(t, pattern([]byte(prefix)), says)
		}
	}
}
