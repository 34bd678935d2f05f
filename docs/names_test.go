package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the pages name besides links, options and figures: commands, variables, files, tests.

var namedCommand = regexp.MustCompile(`(?:^|[\s(/])(kvc|kvd) ([a-z][a-z-]*)\b`)

func TestCommandsExist(t *testing.T) {
	for _, p := range pages(t) {
		for _, c := range p.commands() {
			for _, m := range namedCommand.FindAllStringSubmatch(c.text, -1) {
				if !programHas(m[1], m[2]) {
					t.Errorf("%s:%d: %s has no command %s", p.path, c.line, m[1], m[2])
				}
			}
		}
	}
}

var known = make(map[string]bool) // what programHas has found out

// programHas reports whether a program has a command, or a topic of its help, of this name.
func programHas(program, command string) bool {
	name := program + " " + command
	if _, asked := known[name]; !asked {
		known[name] = exec.Command(filepath.Join(bin, program), "help", command).Run() == nil
	}
	return known[name]
}

var variable = regexp.MustCompile(`\bKVD?_[A-Z][A-Z_]*\b`)

func TestVariablesExist(t *testing.T) {
	has := map[string]bool{"KV_SOAK": true, "KV_GROUPS": true, "KV_SECRET": true}
	for option := range helpFlags(t, "kvc", "options") {
		has[asVariable("KV_", option)] = true
	}
	for option := range helpFlags(t, "kvd") {
		has[asVariable("KVD_", option)] = true
	}
	for _, p := range pages(t) {
		for _, c := range p.commands() {
			for _, name := range variable.FindAllString(c.text, -1) {
				if !has[name] {
					t.Errorf("%s:%d names the variable %s, which nothing reads", p.path, c.line, name)
				}
			}
		}
	}
}

func asVariable(prefix, option string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(option, "--"), "-", "_"))
}

var projectPath = regexp.MustCompile(`^\.?[a-z]+(?:/[A-Za-z0-9_.*-]+)+/?$`)

// TestFilesExist: code that reads like a file or folder of the project is one.
func TestFilesExist(t *testing.T) {
	for _, p := range pages(t) {
		for _, c := range p.code {
			top, _, _ := strings.Cut(c.text, "/")
			if _, err := os.Stat(filepath.Join(root, top)); !projectPath.MatchString(c.text) || top == "bin" || err != nil {
				continue
			}
			found, err := filepath.Glob(filepath.Join(root, c.text))
			require.NoError(t, err)
			if len(found) == 0 {
				t.Errorf("%s:%d names %s, which is not there", p.path, c.line, c.text)
			}
		}
	}
}

var (
	goCommand  = regexp.MustCompile(`^(?:\$ )?(?:[A-Z_]+=\S+ )*go (?:test|run|vet|build)\b(.*)`)
	goTarget   = regexp.MustCompile(`-(?:run|bench|fuzz)[ =]'?\^?((?:Test|Benchmark|Fuzz)?[A-Z]\w+)`)
	goFunction = regexp.MustCompile(`(?m)^func (?:Test|Benchmark|Fuzz)(\w+)\(`)
)

// TestGoCommandsAreRight: the packages that a go command names are there, and the tests, benchmarks and fuzz targets too.
func TestGoCommandsAreRight(t *testing.T) {
	functions := make(map[string]bool)
	require.NoError(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range goFunction.FindAllSubmatch(text, -1) {
			functions[string(m[1])] = true
		}
		return err
	}))
	for _, p := range pages(t) {
		for _, c := range p.commands() {
			m := goCommand.FindStringSubmatch(c.text)
			if m == nil {
				continue
			}
			for _, arg := range strings.Fields(m[1]) {
				if dir := strings.TrimSuffix(arg, "/..."); strings.HasPrefix(dir, "./") {
					if _, err := os.Stat(filepath.Join(root, dir)); err != nil {
						t.Errorf("%s:%d names the package %s: %v", p.path, c.line, arg, err)
					}
				}
			}
			for _, target := range goTarget.FindAllStringSubmatch(m[1], -1) {
				name := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(target[1], "Test"), "Benchmark"), "Fuzz")
				if !prefixOfOne(functions, name) {
					t.Errorf("%s:%d runs %s, which no test is called", p.path, c.line, target[1])
				}
			}
		}
	}
}

func prefixOfOne(functions map[string]bool, name string) bool {
	for f := range functions {
		if strings.Contains(f, name) {
			return true
		}
	}
	return false
}
