package terminal

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"kv/repl/files"
)

// historyLimit is how many lines are remembered.
const historyLimit = 1000

// history keeps lines in a file that its owner alone can read. That it can't be written is no reason to disturb anyone.
type history struct {
	file   *os.File // nil: lines are not kept
	secret func(string) bool
	lines  []string // what the file had when it was opened, oldest first
}

func openHistory(name string, secret func(string) bool) *history {
	h := &history{secret: secret}
	if name == "" || os.MkdirAll(filepath.Dir(name), 0o700) != nil {
		return h
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return h // someone wants none: a link to /dev/null, say, which must stay as it is
	}
	b, err := os.ReadFile(name)
	if err == nil {
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSuffix(line, "\n"); line != "" && utf8.ValidString(line) {
				h.lines = append(h.lines, line)
			}
		}
	}
	long := len(h.lines) > 2*historyLimit
	h.lines = h.lines[max(0, len(h.lines)-historyLimit):]
	if long {
		shorten(name, h.lines)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return h
	}
	if f.Chmod(0o600) != nil { // it may have been there already
		f.Close()
		return h
	}
	h.file = f
	return h
}

// shorten makes the file hold only lines.
func shorten(name string, lines []string) {
	files.Write(context.Background(), name, 0o600, func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
		return err
	})
}

func (h *history) add(line string) {
	if h.file == nil || h.secret != nil && h.secret(line) || strings.Contains(line, "\n") {
		return
	}
	if len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	h.file.WriteString(line + "\n")
}

func (h *history) close() {
	if h.file != nil {
		h.file.Close()
	}
}
