// Package docs_test holds the documentation to the truth: its links lead somewhere, the commands and options that it names
// exist, its sessions print what they say, and its programs run.
//
// A session is a fenced block of the kind console, see session. Its commands run one after the other against a server of
// the page's own. A program is a fenced block of the kind go that begins with "package main" and ends with what it prints,
// behind "// Output:", as a Go example does.
//
// docs/protocol.md, docs/cli.md and docs/cookbook.md have further tests, beside the code that they describe.
package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bin is the folder with the kvd and kvc that the tests run, made by TestMain.
var bin string

func TestMain(m *testing.M) {
	os.Unsetenv("KV_SOAK") // each kvc would warn that it has no such option
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kv-docs")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	bin = dir
	build := exec.Command("go", "build", "-o", bin+"/", "./cmd/...")
	build.Dir = root
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		panic(err)
	}
	return m.Run()
}

var link = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)[^)]*\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	all := pages(t)
	byPath := make(map[string]page)
	for _, p := range all {
		byPath[p.path] = p
	}
	for _, p := range all {
		for _, m := range link.FindAllStringSubmatch(p.prose, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			path := p.path
			if target != "" {
				path = filepath.Join(filepath.Dir(p.path), target)
			}
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("%s links to %s: %v", p.path, m[1], err)
			} else if to := byPath[path]; anchor != "" && !to.anchors()[anchor] {
				t.Errorf("%s links to %s, which has no such heading", p.path, m[1])
			}
		}
	}
}

// TestEveryPageIsReachable: README.md links to each page, so that none is written for nobody.
func TestEveryPageIsReachable(t *testing.T) {
	all := pages(t)
	linked := make(map[string]bool)
	for _, p := range all {
		if p.path == "README.md" {
			for _, m := range link.FindAllStringSubmatch(p.prose, -1) {
				target, _, _ := strings.Cut(m[1], "#")
				linked[target] = true
			}
		}
	}
	for _, p := range all {
		if p.path != "README.md" && !linked[p.path] {
			t.Errorf("README.md does not link to %s", p.path)
		}
	}
}

var (
	makeTarget  = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
	makeCommand = regexp.MustCompile(`^(?:\$ )?(?:[A-Z_]+=\S+ )*make((?: [a-z-]+)+)`)
)

func TestMakeTargetsExist(t *testing.T) {
	makefile, err := os.ReadFile(root + "/Makefile")
	require.NoError(t, err)
	targets := make(map[string]bool)
	for _, m := range makeTarget.FindAllStringSubmatch(string(makefile), -1) {
		targets[m[1]] = true
	}
	for _, p := range pages(t) {
		for _, line := range p.commands() {
			m := makeCommand.FindStringSubmatch(line.text)
			if m == nil {
				continue
			}
			for _, target := range strings.Fields(m[1]) {
				if !targets[target] {
					t.Errorf("%s:%d names make %s, which is not in the Makefile", p.path, line.line, target)
				}
			}
		}
	}
}

// commands are the pieces of inline code and the lines of fenced blocks.
func (p page) commands() []span {
	all := slices.Clone(p.code)
	for _, b := range p.blocks {
		for i, line := range b.lines {
			all = append(all, span{b.line + i, line})
		}
	}
	return all
}

var (
	flag       = regexp.MustCompile(`(?:^|[\s=\[(|,])(--[a-z][a-z0-9-]*)`)
	ownCommand = regexp.MustCompile(`(?:^|[\s(/])(kvc|kvd)\b([^|;&]*)`)
)

func TestOptionsExist(t *testing.T) {
	known := map[string]map[string]bool{"kvc": helpFlags(t, "kvc", "options"), "kvd": helpFlags(t, "kvd")}
	for _, p := range pages(t) {
		for _, c := range p.commands() {
			if strings.HasPrefix(c.text, "--") {
				for _, f := range flag.FindAllStringSubmatch(c.text, -1) {
					if !known["kvc"][f[1]] && !known["kvd"][f[1]] {
						t.Errorf("%s:%d names %s, which neither kvc nor kvd has", p.path, c.line, f[1])
					}
				}
			}
			for _, m := range ownCommand.FindAllStringSubmatch(c.text, -1) {
				args, _, _ := strings.Cut(m[2], " -- ")
				for _, f := range flag.FindAllStringSubmatch(args, -1) {
					if !known[m[1]][f[1]] {
						t.Errorf("%s:%d: %s has no option %s", p.path, c.line, m[1], f[1])
					}
				}
			}
		}
	}
}

var subcommand = regexp.MustCompile(`(?m)^  ([a-z]+)\b`)

// helpFlags are the options that the help of a program, of each of its commands and of further topics names.
func helpFlags(t *testing.T, program string, topics ...string) map[string]bool {
	known := make(map[string]bool)
	help := func(args ...string) string {
		out, err := exec.Command(filepath.Join(bin, program), append([]string{"help"}, args...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		for _, f := range flag.FindAllStringSubmatch(string(out), -1) {
			known[f[1]] = true
		}
		return string(out)
	}
	for _, c := range subcommand.FindAllStringSubmatch(help(), -1) {
		if c[1] != program {
			topics = append(topics, c[1])
		}
	}
	for _, topic := range topics {
		_, below, _ := strings.Cut(help(topic), "Available Commands:\n") // of a command
		below, _, _ = strings.Cut(below, "\n\n")
		for _, c := range subcommand.FindAllStringSubmatch(below, -1) {
			help(topic, c[1])
		}
	}
	require.NotEmpty(t, known, "%s help names no option", program)
	return known
}
