package docs_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The pages whose sessions are run elsewhere.
var runElsewhere = map[string]bool{"docs/cli.md": true, "docs/cluster.md": true, "docs/cookbook.md": true}

func TestSessionsPrintWhatTheySay(t *testing.T) {
	for _, p := range pages(t) {
		if runElsewhere[p.path] {
			continue
		}
		var sessions []session
		for _, b := range p.blocks {
			if b.kind == "console" {
				sessions = append(sessions, parseSession(p, b))
			}
		}
		if len(sessions) == 0 {
			continue
		}
		t.Run(filepath.Base(p.path), func(t *testing.T) {
			dir := t.TempDir()
			addr := ""
			pages := freeAddress(t)
			if slices.ContainsFunc(sessions, session.startsServer) {
				addr = freeAddress(t)
				t.Cleanup(func() { stopServers(t, dir) })
			} else {
				addr = startServer(t)
			}
			for _, s := range sessions {
				t.Run(fmt.Sprint("line ", s.steps[0].line), func(t *testing.T) { s.run(t, addr, pages, dir) })
			}
		})
	}
}

// session is a console block: commands behind "$ ", each with what it prints, stdout and stderr, below it. In that, "…"
// stands for any text in a line, and a line of "…" alone for any lines. A command that ends with a backslash goes on in
// the next line. A block that begins with `kvc` or `make run`, without more, has the shell's prompt in front of what is typed
// into the shell, and no other commands; behind `make run` it is the shell of a server of its own.
//
// A page with a command that starts kvd in the background, `kvd … &`, has no other server, and keeps that one to its end. For
// 127.0.0.1:7071, where the pages say that HTTP is served, an address that is free takes its place.
type session struct {
	where string
	steps []step
}

var serverStep = regexp.MustCompile(`^kvd\b.*&( sleep 1)?$`)

func (s session) startsServer() bool {
	return slices.ContainsFunc(s.steps, func(st step) bool { return serverStep.MatchString(st.typed) })
}

type step struct {
	line  int
	typed string // a command
	shell []step // what is typed into the shell that the command starts
	want  []string
}

var prompt = regexp.MustCompile(`^kv\*?> `)

func parseSession(p page, b block) session {
	s := session{where: p.path}
	for i := 0; i < len(b.lines); i++ {
		line := b.lines[i]
		last := len(s.steps) - 1
		switch command, isCommand := strings.CutPrefix(line, "$ "); {
		case isCommand:
			at := b.line + i
			for strings.HasSuffix(command, `\`) && i+1 < len(b.lines) {
				i++
				command += "\n" + b.lines[i]
			}
			s.steps = append(s.steps, step{line: at, typed: command})
		case last < 0: // output without a command
			s.steps = append(s.steps, step{line: b.line + i, typed: "false", want: []string{line}})
		case prompt.MatchString(line):
			typed := prompt.ReplaceAllString(line, "")
			s.steps[last].shell = append(s.steps[last].shell, step{line: b.line + i, typed: typed})
		case len(s.steps[last].shell) > 0:
			sh := s.steps[last].shell
			sh[len(sh)-1].want = append(sh[len(sh)-1].want, line)
		default:
			s.steps[last].want = append(s.steps[last].want, line)
		}
	}
	return s
}

// run runs the commands of s in one bash, in dir, or types them into a shell. pages is where HTTP is served.
func (s session) run(t *testing.T, addr, pages, dir string) {
	if len(s.steps[0].shell) > 0 {
		require.Len(t, s.steps, 1, "%s:%d: a shell's block has no other commands", s.where, s.steps[0].line)
		if s.steps[0].typed == "make run" {
			addr = startServer(t)
		}
		s.runShell(t, addr, s.steps[0])
		return
	}
	var script strings.Builder
	const mark = "== next command =="
	script.WriteString("exec 2>&1\nstatus=0\n")
	for _, st := range s.steps {
		fmt.Fprintf(&script, "echo '%s'; (exit $status)\n%s\nstatus=$?\n",
			mark, strings.ReplaceAll(st.typed, "127.0.0.1:7071", pages))
		if serverStep.MatchString(st.typed) {
			script.WriteString("echo $! >>servers; until kvc ping >/dev/null 2>&1; do kill -0 $! || break; sleep 0.02; done\n")
		}
	}
	cmd := exec.Command("bash", "-c", script.String())
	cmd.Dir = dir
	cmd.Env = environment(addr)
	// A file, not a pipe, since a server that the session has started keeps it open.
	stdout, err := os.Create(filepath.Join(t.TempDir(), "output"))
	require.NoError(t, err)
	defer stdout.Close()
	cmd.Stdout = stdout
	_ = cmd.Run() // the code of the last command is not the session's
	out, err := os.ReadFile(stdout.Name())
	require.NoError(t, err)
	outputs := strings.Split(string(out), mark+"\n")[1:]
	require.Len(t, outputs, len(s.steps), "%s: %s", s.where, out)
	for i, st := range s.steps {
		compare(t, fmt.Sprintf("%s:%d: %s", s.where, st.line, st.typed), st.want, outputs[i])
	}
}

func environment(addr string) []string {
	return append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "KV_ADDR="+addr, "KVD_LISTEN="+addr, "NO_COLOR=1",
		"TERM=xterm", "XDG_STATE_HOME="+bin)
}

// runShell types the lines of st into a kvc on a terminal and compares what it shows.
func (s session) runShell(t *testing.T, addr string, st step) {
	require.Contains(t, []string{"kvc", "make run"}, st.typed, "%s:%d: a shell is started so", s.where, st.line)
	cmd := exec.Command(filepath.Join(bin, "kvc"))
	cmd.Env = environment(addr)
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: 200})
	require.NoError(t, err)
	defer tty.Close()
	screen := screen{tty}
	screen.untilPrompt(t, false)
	for _, line := range st.shell {
		_, err := tty.WriteString(line.typed + "\r")
		require.NoError(t, err)
		if line.typed == "exit" || line.typed == "quit" {
			break
		}
		got := screen.untilPrompt(t, true)
		compare(t, fmt.Sprintf("%s:%d: %s", s.where, line.line, line.typed), line.want, got)
	}
	_ = tty.Close()
	_ = cmd.Wait()
}

// screen reads what a program writes to its terminal.
type screen struct{ tty *os.File }

var (
	escapeSequence = regexp.MustCompile(`\x1b\[[0-9;?]*[a-zA-Z]|\x07|\x08`)
	promptAtEnd    = regexp.MustCompile(`(?:^|[\r\n])kv\*?> +$`)
)

// untilPrompt reads until the shell waits for a line, and returns what it showed before. If a line was entered, that is what
// came after the line's end: until then the shell draws what is typed.
func (s screen) untilPrompt(t *testing.T, entered bool) string {
	var seen []byte
	buf := make([]byte, 4096)
	for {
		require.NoError(t, s.tty.SetReadDeadline(time.Now().Add(20*time.Second)))
		n, err := s.tty.Read(buf)
		seen = append(seen, buf[:n]...)
		text := escapeSequence.ReplaceAllString(string(seen), "")
		require.NoError(t, err, "the shell showed %q and then no prompt", text)
		if entered {
			_, answer, ok := strings.Cut(text, "\n")
			if !ok {
				continue
			}
			text = answer
		}
		if !promptAtEnd.MatchString(text) {
			continue
		}
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			line = strings.TrimRight(line, "\r")
			lines[i] = line[strings.LastIndexByte(line, '\r')+1:] // a line that was drawn anew
		}
		return strings.Join(lines[:len(lines)-1], "\n")
	}
}

// freeAddress is an address that nobody listens on, and that nobody is given who asks for any port.
func freeAddress(t *testing.T) string {
	for {
		addr := fmt.Sprint("127.0.0.1:", 20_000+rand.IntN(10_000))
		if l, err := net.Listen("tcp", addr); err == nil {
			require.NoError(t, l.Close())
			return addr
		}
	}
}

// stopServers ends the servers that a page's sessions have started in dir.
func stopServers(t *testing.T, dir string) {
	list, err := os.ReadFile(filepath.Join(dir, "servers"))
	require.NoError(t, err)
	for _, line := range strings.Fields(string(list)) {
		pid, err := strconv.Atoi(line)
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(pid, syscall.SIGTERM), "the server that the page has started is gone")
	}
}

// startServer starts a kvd with an empty store and returns its address; it ends with the test.
func startServer(t *testing.T) string {
	cmd := exec.Command(filepath.Join(bin, "kvd"), "--listen", "127.0.0.1:0", "--history", "10")
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	log := make([]byte, 0, 4096)
	buf := make([]byte, 1024)
	for {
		n, err := stderr.Read(buf)
		log = append(log, buf[:n]...)
		if m := listening.FindSubmatch(log); m != nil {
			go func() { // what else it logs, so that it never waits for us
				for err == nil {
					_, err = stderr.Read(buf)
				}
			}()
			return string(m[1])
		}
		require.NoError(t, err, "kvd said: %s", log)
	}
}

var listening = regexp.MustCompile(`listening on ([0-9.]+:[0-9]+)[^0-9]`)

// compare checks what was printed against what the page says.
func compare(t *testing.T, where string, want []string, got string) {
	t.Helper()
	var re bytes.Buffer
	re.WriteString(`^`)
	for _, line := range want {
		if strings.TrimSpace(line) == "…" {
			re.WriteString(`(?:.*\n)*?`)
			continue
		}
		parts := strings.Split(strings.TrimRight(line, " "), "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		re.WriteString(strings.Join(parts, `.*`) + ` *\n`)
	}
	re.WriteString(`$`)
	if got != "" && !strings.HasSuffix(got, "\n") {
		got += "\n"
	}
	assert.Regexp(t, re.String(), got, "%s\nprints\n%sinstead of\n%s\n", where, got, strings.Join(want, "\n"))
}

// TestProgramsPrintWhatTheySay: a program works in a module of its own, with the commands that README.md has for that.
func TestProgramsPrintWhatTheySay(t *testing.T) {
	project, err := filepath.Abs(root)
	require.NoError(t, err)
	commands := []string{"go mod init example.com/program"}
	for _, p := range pages(t) {
		for _, c := range p.code {
			if filepath.Base(p.path) == "README.md" && strings.HasPrefix(c.text, "go mod ") {
				commands = append(commands, strings.ReplaceAll(c.text, "/path/to/it", project))
			}
		}
	}
	require.Len(t, commands, 3)
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			text := strings.Join(b.lines, "\n") + "\n"
			if b.kind != "go" || !strings.HasPrefix(text, "package main\n") {
				continue
			}
			t.Run(fmt.Sprintf("%s:%d", filepath.Base(p.path), b.line), func(t *testing.T) {
				_, output, ok := strings.Cut(text, "// Output:\n")
				require.True(t, ok, `a program ends with "// Output:" and what it prints`)
				var want []string
				for _, line := range strings.Split(strings.TrimSpace(output), "\n") {
					if line, ok := strings.CutPrefix(strings.TrimSpace(line), "//"); ok {
						want = append(want, strings.TrimPrefix(line, " "))
					}
				}
				addr := startServer(t)
				text = strings.ReplaceAll(text, "127.0.0.1:7070", addr)
				dir := t.TempDir()
				require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(text), 0o600))
				var out []byte
				for _, c := range append(commands, "go run .") {
					words := strings.Fields(c)
					cmd := exec.Command(words[0], words[1:]...)
					cmd.Dir = dir
					cmd.Env = append(environment(addr), "GOPROXY=off") // what the project needs is here
					out, err = cmd.CombinedOutput()
					require.NoError(t, err, "%s: %s", c, out)
				}
				compare(t, p.path, want, string(out))
			})
		}
	}
}
