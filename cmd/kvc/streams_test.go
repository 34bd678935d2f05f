package main

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// printing are lines of kvc for each of its commands, all of which print something on stdout.
var printing = []string{
	"get a", "get a --json", "get nobody --json", "get a --raw", "mget a", "meta a", "scan", "scan --values --json", "count", "count --json", "history a",
	"set a 1 --print-version", "set a 1 --json", "mset a 1 --print-version", "del nobody", "purge nobody", "purge nobody --json", "rollback a $version",
	"incr n", "incr n 2 --json", "expire a 1h --print-version", "expire a 1h --json", "persist a --print-version", "persist a --json",
	"txn < reads", "txn --json < reads",
	"import records --json", "export", "export --json", "bench --duration 1ms --keys 1 --json",
	"cluster", "cluster --json", "stats", "stats --json", "stats --watch --count 1", "ping", "ping --json", "backup -", "backup all --json",
	"context", "context --json", "context show here", "context show here --json",
	"help", "help set", "help options", "set --help", "--help", "--version", "completion bash", "completion zsh", "__complete g",
	"< script",
}

// quiet are commands that print nothing on stdout, and lines that can't be in the list above.
var quiet = map[string]string{"snapshot": "it is refused without a data folder", "man": "it writes files"}

// streams runs lines of kvc with a shell, in a folder with what they read.
func streams(t *testing.T) (run func(line string) (stderr string, code int)) {
	s := testServer(t)
	setup := s.kvc(t)
	dir := setup.Dir
	for name, content := range map[string]string{"reads": "get a\n", "records": "r\t1\n", "script": "get a\n"} {
		require.NoError(t, os.WriteFile(dir+"/"+name, []byte(content), 0o600))
	}
	run = func(line string) (string, int) {
		cmd := exec.Command("sh", "-c", line)
		cmd.Env, cmd.Dir = setup.Env, dir
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		err := cmd.Run()
		if exit := (*exec.ExitError)(nil); err != nil {
			require.ErrorAs(t, err, &exit)
		}
		return stderr.String(), cmd.ProcessState.ExitCode()
	}
	_, code := run("kvc set a 0 && kvc context add here --addr localhost")
	require.Zero(t, code)
	return run
}

// What can't be printed is exit code 5, whatever the command, and says so.
func TestStdoutThatCannotBeWritten(t *testing.T) {
	run := streams(t)
	tested := map[string]bool{}
	for _, line := range printing {
		tested[strings.Fields(line)[0]] = true
		for redirection, says := range map[string]string{
			">&-":         "kvc: can't write to stdout: the file is closed, or is /dev/null opened for reading and writing",
			"> /dev/full": "kvc: can't write to stdout: no space left on device\n",
		} {
			command := "kvc " + strings.Replace(line, "$version", "$(kvc meta a | awk '/version/ { print $2 }')", 1) + " " + redirection
			stderr, code := run(command)
			assert.Equal(t, 5, code, "%s: %s", command, stderr)
			assert.Contains(t, strings.Replace(stderr, "line 1: ", "", 1), says, command)
		}
	}
	help, err := exec.Command("kvc", "help").Output()
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+) +[A-Z]`).FindAllSubmatch(help, -1) {
		if name := string(m[1]); !tested[name] {
			assert.Contains(t, quiet, name, "a command that nobody tried")
		}
	}
}

// A stream that is there and leads nowhere, and one that nobody writes to, are no errors.
func TestStreamsThatLeadNowhere(t *testing.T) {
	run := streams(t)
	for _, line := range []string{
		"kvc set b 1 >&-", "kvc get a > /dev/null", "kvc get a > /dev/null 2>&1", "kvc get a <&-", "kvc get a <&- > /dev/null",
		"kvc set b - < /dev/null", "kvc < /dev/null", "kvc txn < /dev/null", "kvc import - < /dev/null",
	} {
		stderr, code := run(line)
		assert.Zero(t, code, "%s: %s", line, stderr)
	}
	// As daemon(3) and others open it: once, for several streams.
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	require.NoError(t, err)
	defer null.Close()
	cmd := testServer(t).kvc(t, "ping")
	cmd.Stdout, cmd.Stderr = null, null
	assert.NoError(t, cmd.Run())
	flags, _, _ := syscall.Syscall(syscall.SYS_FCNTL, null.Fd(), syscall.F_GETFL, 0)
	assert.Zero(t, flags&syscall.O_APPEND, "the flag is as it was")
}

// A command whose input can't be read is exit code 2, and changes nothing.
func TestStdinThatCannotBeRead(t *testing.T) {
	run := streams(t)
	for _, line := range []string{
		"set a -", "set a --file /dev/stdin", "mset -", "mget -", "del -", "txn", "import -", "import --json -", "import --keep-going -",
		"import /dev/stdin", "import /dev/fd/0", "", "--keep-going",
	} {
		stderr, code := run("kvc " + line + " <&-")
		assert.Equal(t, 2, code, "%s: %s", line, stderr)
		assert.NotEmpty(t, stderr, line)
	}
	for _, line := range []string{"kvc < .", "kvc --keep-going < .", "kvc set a - < .", "kvc import .",
		"kvc import - < .", "kvc txn < ."} {
		stderr, code := run(line)
		assert.Equal(t, 2, code, "%s: %s", line, stderr)
		assert.Contains(t, stderr, "is a directory", line)
	}
	_, code := run(`test "$(kvc get a)" = 0`)
	assert.Zero(t, code)
}
