package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// blocks returns the fenced blocks of a page of this kind, each with the line that it begins at.
func blocks(t *testing.T, page, kind string) map[int]string {
	t.Helper()
	b, err := os.ReadFile(page)
	require.NoError(t, err)
	found := map[int]string{}
	var open *strings.Builder
	start := 0
	for i, line := range strings.Split(string(b), "\n") {
		switch {
		case open == nil && line == "```"+kind:
			open, start = &strings.Builder{}, i+2
		case open != nil && line == "```":
			found[start] = open.String()
			open = nil
		case open != nil:
			open.WriteString(line + "\n")
		}
	}
	require.NotEmpty(t, found)
	return found
}

// recipes says what each recipe prints, by something that only that recipe has in it.
var recipes = map[string]string{
	"lock:nightly-report": "working\n",
	"lock:migration":      "step 1\nstep 2\nstep 3\n",
	"incr visits":         "6\n",
	"calls:$1":            "call 1\ncall 2\ncall 3\ncall 4: too many\ncall 5: too many\n",
	"temperature":         "31\n",
	"config:db:pool":      "DB_HOST=db1.example\nDB_PORT=5432\nDB_POOL=20\nlevel info\n",
	"config:feature":      "on\n",
	"transfer 30":         "account:ann\t70\naccount:bob\t30\n",
	"stock:apples":        "5\nnew\nstock:apples\t4\norder:17\t1 apple\n",
	"done: $job":          "done: one\ndone: two\ndone: three\n",
	"cached uname":        "Linux\nLinux\n",
	"site/logo.png":       "same\n",
	"OTHER_KV_ADDR":       "any bytes\n",
	"context add staging": "7\n",
}

func TestCookbook(t *testing.T) {
	ran := 0
	for line, recipe := range blocks(t, "../../docs/cookbook.md", "sh") {
		t.Run(fmt.Sprint("line ", line), func(t *testing.T) {
			require.True(t, strings.HasPrefix(recipe, "set -euo pipefail\n"))
			s, other := testServer(t), testServer(t)
			cmd := exec.Command("bash", "-c", recipe)
			cmd.Dir = t.TempDir()
			cmd.Env = append(os.Environ(), "KV_ADDR="+s.addr, "OTHER_KV_ADDR="+other.addr)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			require.NoError(t, cmd.Run(), "%s%s", &stdout, &stderr)
			for part, want := range recipes {
				if strings.Contains(recipe, part) {
					ran++
					assert.Equal(t, want, stdout.String(), "%s", &stderr)
				}
			}
		})
	}
	assert.Equal(t, len(recipes), ran, "each recipe's output is known")
}

// A lock that is taken gives exit code 3, and is free again after its holder has ended, well or not.
func TestCookbookLock(t *testing.T) {
	s := testServer(t)
	var recipe string
	for _, r := range blocks(t, "../../docs/cookbook.md", "sh") {
		if strings.Contains(r, "lock:nightly-report") {
			recipe = r
		}
	}
	run := func(before, work string) (string, int) {
		cmd := exec.Command("bash", "-c", before+strings.Replace(recipe, `echo "working"`, work, 1))
		cmd.Env = append(os.Environ(), "KV_ADDR="+s.addr)
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	out, code := run("", "false")
	assert.Equal(t, 1, code, "the work failed: %s", out)
	out, code = run("", "echo free again")
	assert.Zero(t, code)
	assert.Equal(t, "free again\n", out)
	out, code = run("kvc set lock:nightly-report 'another host'\n", "echo must not run")
	assert.Equal(t, 3, code)
	assert.Contains(t, out, "held by: another host\n")
	assert.NotContains(t, out, "must not run")
	require.NoError(t, s.kvc(t, "del", "lock:nightly-report").Run())
	// Our lock expired, and is another's now: it is not ours to release.
	_, code = run("", "kvc set lock:nightly-report 'another host'")
	assert.Zero(t, code)
	v, err := s.kvc(t, "get", "lock:nightly-report").Output()
	require.NoError(t, err)
	assert.Equal(t, "another host", string(v))
}

// seed is what the examples of docs/cli.md find: keys, files, a second server.
const seed = `
kvc mset greeting 'hello, world' farewell bye logo x counter 7 config 1 user:1 a user:2 b tmp:1 c a 1 b 2 queue:head 1 from 100 to 0 session:7 x offer y lock z
kvc set config 2; kvc set config 3
printf 'a\t1\n' > records.txt
printf '{"key":"a","value":"1"}\n' > records.jsonl
printf 'get from\nset from 90\nset to 10\n' > transfer.txt
printf x > logo.png
mkdir -p ~/.local/share/bash-completion/completions ~/.zsh/completions ~/.config/fish/completions
`

// TestExamples runs each example of docs/cli.md. An example of the shell runs in a script.
func TestExamples(t *testing.T) {
	examples := 0
	for line, block := range blocks(t, "../../docs/cli.md", "sh") {
		for i, example := range strings.Split(strings.TrimSuffix(block, "\n"), "\n") {
			examples++
			t.Run(fmt.Sprint("line ", line+i), func(t *testing.T) {
				s, other := testServer(t), testServer(t)
				run := func(script string) {
					cmd := exec.Command("bash", "-c", "set -euo pipefail\n"+script)
					cmd.Dir = t.TempDir()
					cmd.Env = append(os.Environ(), "KV_ADDR="+s.addr, "HOME="+cmd.Dir, "XDG_CONFIG_HOME=", "other="+other.addr)
					out, err := cmd.CombinedOutput()
					if strings.Contains(example, "kvc snapshot") {
						assert.Contains(t, string(out), "unavailable", "there is no data folder")
						return
					}
					require.NoError(t, err, "%s\n%s", example, out)
				}
				switch command := strings.Fields(example)[0]; {
				case command == "kvc":
					run(seed + "key=" + quotedKey(example) + "\nversion=$(kvc meta $key | awk '{print $2; exit}')\n" + example)
				case command == "login": // it asks a person: TestLogin
				case command == "begin":
					run("printf '%s\n' begin abort | kvc")
				case command == "commit", command == "abort":
					run("printf '%s\n' begin " + command + " | kvc")
				default:
					typed, _, _ := strings.Cut(example, " #")
					run("echo '" + strings.ReplaceAll(strings.TrimSpace(typed), "10.0.0.7:7070", other.addr) + "' | kvc")
				}
			})
		}
	}
	assert.Greater(t, examples, 50)
}

var aKey = regexp.MustCompile(`^kvc \S+ ([a-z]+)`)

// quotedKey returns the key of an example, whose version $version stands for.
func quotedKey(example string) string {
	if m := aKey.FindStringSubmatch(example); m != nil && strings.Contains(example, "$version") {
		return m[1]
	}
	return "greeting"
}

// TestTranscript types the session that help shell shows.
func TestTranscript(t *testing.T) {
	help, err := testServer(t).kvc(t, "help", "shell").Output()
	require.NoError(t, err)
	k := startShell(t, testServer(t))
	typed := 0
	for _, line := range strings.Split(string(help), "\n") {
		line, ok := strings.CutPrefix(line, "    ")
		if !ok {
			continue
		}
		if _, command, ok := strings.Cut(line, "> "); ok && strings.HasPrefix(line, "kv") {
			k.send(command + "\r")
			k.expect(command + "\n")
			typed++
		} else {
			k.expect(line + "\n")
		}
	}
	assert.Equal(t, 5, typed)
}

func TestManPagesAreReadable(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, testServer(t).kvc(t, "man", dir).Run())
	pages, err := filepath.Glob(dir + "/*.1")
	require.NoError(t, err)
	assert.Greater(t, len(pages), 15)
	for _, page := range pages {
		cmd := exec.Command("man", "--warnings", "-l", page)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		require.NoError(t, err)
		assert.Empty(t, stderr.String(), page)
		assert.Contains(t, string(out), "NAME")
	}
}
