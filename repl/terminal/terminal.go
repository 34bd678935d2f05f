// Package terminal reads command lines from a person at a terminal: chzyer/readline, with its traps closed.
//
//   - It redraws the line for every rune of a paste. Here, runes that wait are put into the line together (keys, edit).
//   - Its Ctrl-Z stops the parent process even where that is of another job, its Delete key on an empty line leaves. Neither
//     reaches it (suspend, keys, edit).
//   - Its words are those of ASCII (word). Ctrl-C in a search leaves the search on the screen (edit).
//   - It takes no notice of keys while a command runs, and then takes Ctrl-C and Ctrl-D for the next line, or hangs. Here
//     one goroutine reads the terminal all the time: Ctrl-C cancels the command (Running), Ctrl-D is dropped, other keys
//     wait for the next line.
//   - Invalid UTF-8 becomes U+FFFD without a word. Here the whole line is refused (ErrNotUTF8).
//   - When the terminal goes away it runs the half of a line that was typed. Here that is dropped.
//   - It writes its history with mode 0666. It never sees the file (history).
//   - It thinks a window of 0×0 has no room for completion. It never hears of one (width).
//   - It counts one column for an emoji, and moves one column back over a wide letter. Here each wide rune is followed
//     by a stand-in that takes the missing column, and is never drawn (edit).
//
// The terminal is in raw mode from Open to Close, while commands run too; newlines are translated as usual.
package terminal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"

	"github.com/chzyer/readline"
	"golang.org/x/term"
)

// The errors of Line, besides io.EOF for Ctrl-D on an empty line and for a terminal that went away.
var (
	ErrInterrupt = errors.New("interrupted") // Ctrl-C
	ErrNotUTF8   = errors.New(`the line is not valid UTF-8: write such bytes as \xHH in double quotes`)
)

// Config says what a Terminal is made of.
type Config struct {
	In, Out *os.File
	// HistoryFile keeps the history, with mode 0600, in a folder that is made where it is missing; "": none.
	HistoryFile string
	// Secret reports whether a line is better not written to HistoryFile.
	Secret func(line string) bool
	// Complete says what Tab does to a line of which this stands before the cursor. typed is closed when a key is pressed.
	Complete func(before string, typed <-chan struct{}) Completion
	// Hint is asked at each key what to show behind a line; history are the lines that were kept, oldest first. nil: no hints.
	Hint func(line string, history []string) Hint
}

// Terminal is a terminal in raw mode. Its methods are for one goroutine, but for SetPrompt and HangUp.
type Terminal struct {
	c       Config
	keys    *keys
	edit    *editor
	rl      *readline.Instance
	history *history

	raw    *readline.State          // what Close restores
	prompt atomic.Pointer[string]   // of the line that is asked for, and
	recent atomic.Pointer[[]string] // the history: for Paint, which any goroutine may call that draws
	lent   atomic.Bool              // other programs have it: it is not to be taken into raw mode
	cont   chan os.Signal           // SIGCONT, on which raw mode is taken up again
	done   sync.WaitGroup
}

// Open puts the terminal into raw mode.
func Open(c Config) (*Terminal, error) {
	t := &Terminal{c: c, keys: newKeys(c.In), history: openHistory(c.HistoryFile, c.Secret), cont: make(chan os.Signal, 1)}
	var err error
	if t.raw, err = readline.MakeRaw(int(c.In.Fd())); err != nil {
		return nil, err
	}
	e := &editor{keys: t.keys, hint: t.hint}
	t.edit = e
	t.setPrompt("")
	t.recent.Store(&t.history.lines)
	t.rl, err = readline.NewEx(&readline.Config{
		Stdin:                  t.keys,
		Stdout:                 undrawn{c.Out},
		Stderr:                 c.Out,
		HistoryLimit:           historyLimit,
		DisableAutoSaveHistory: true,
		HistorySearchFold:      true,
		InterruptPrompt:        "^C",
		EOFPrompt:              "\n", // nothing
		Listener:               e,
		Painter:                t,
		AutoComplete:           &completer{t},
		FuncFilterInputRune:    e.filter,
		FuncIsTerminal:         func() bool { return true },
		FuncGetWidth:           t.width,
		FuncMakeRaw:            func() error { return nil },
		FuncExitRaw:            func() error { return nil },
	})
	if err != nil {
		t.restore()
		return nil, err
	}
	e.rl.Store(t.rl)
	for _, line := range t.history.lines {
		t.rl.SaveHistory(string(padded([]rune(line))))
	}
	e.searchable.Store(len(t.history.lines) > 0)
	io.WriteString(c.Out, bracketedPasteOn)
	notifyContinued(t.cont)
	t.done.Go(func() {
		for range t.cont {
			t.resume()
		}
	})
	t.keys.suspend = t.suspend
	go t.keys.pump()
	return t, nil
}

const (
	bracketedPasteOn  = "\x1b[?2004h"
	bracketedPasteOff = "\x1b[?2004l"
)

// Lend gives the terminal, as it was before Open, to other programs until back is called; no key is read meanwhile. Ctrl-C is
// a signal then.
func (t *Terminal) Lend() (back func()) {
	t.keys.reading.Lock()
	t.lent.Store(true)
	t.restore()
	return func() {
		t.lent.Store(false)
		// What was written last may have no newline. This leads to the next line then, and nowhere else.
		fmt.Fprintf(t.c.Out, "%*s\r", t.width()-1, "")
		t.resume()
		t.keys.reading.Unlock()
	}
}

// suspend stops all processes of the foreground job, as the terminal itself would, were it not in raw mode. Where no shell
// waits for that, the system lets it pass.
func (t *Terminal) suspend() {
	t.restore()
	stopJob()
	t.resume()
}

// resume takes raw mode up again.
func (t *Terminal) resume() {
	if t.lent.Load() {
		return
	}
	readline.MakeRaw(int(t.c.In.Fd()))
	io.WriteString(t.c.Out, bracketedPasteOn)
	t.rl.Refresh()
}

// Close restores the terminal.
func (t *Terminal) Close() {
	signal.Stop(t.cont)
	close(t.cont)
	t.done.Wait()
	t.keys.Close()
	t.rl.Close()
	t.history.close()
	t.restore()
}

func (t *Terminal) restore() {
	io.WriteString(t.c.Out, bracketedPasteOff)
	readline.Restore(int(t.c.In.Fd()), t.raw)
}

// Line asks for a line.
func (t *Terminal) Line(prompt string) (string, error) {
	t.setPrompt(prompt)
	t.rl.SetPrompt(prompt)
	t.keys.open()
	text, err := t.rl.Readline()
	if t.keys.gone() {
		return "", io.EOF
	}
	if err == readline.ErrInterrupt {
		return "", ErrInterrupt
	}
	if err != nil {
		return "", err
	}
	return unpadded(text)
}

// SetPrompt changes the prompt of the line that is being asked for.
func (t *Terminal) SetPrompt(prompt string) {
	t.setPrompt(prompt)
	t.rl.SetPrompt(prompt)
	t.rl.Refresh()
}

func (t *Terminal) setPrompt(prompt string) { t.prompt.Store(&prompt) }

// Remember adds a line to the history.
func (t *Terminal) Remember(line string) {
	if line == "" {
		return
	}
	t.rl.SaveHistory(string(padded([]rune(line))))
	t.edit.searchable.Store(true)
	t.history.add(line)
	lines := t.history.lines // what is there of it never changes
	t.recent.Store(&lines)
}

// Running makes Ctrl-C call cancel until stop is called; what was typed ahead is then forgotten too.
func (t *Terminal) Running(cancel func()) (stop func()) {
	t.keys.running(cancel)
	return func() { t.keys.running(nil) }
}

// Interrupt does what Ctrl-C does while a command runs.
func (t *Terminal) Interrupt() { t.keys.interrupt() }

// HangUp makes Line return io.EOF, now and ever after.
func (t *Terminal) HangUp() { t.keys.Close() }

// width is the number of columns, or a usual one where the terminal does not tell.
func (t *Terminal) width() int {
	columns, _, err := term.GetSize(int(t.c.Out.Fd()))
	if err != nil || columns <= 0 {
		return 80
	}
	return max(columns, 10)
}

// height is the number of rows.
func (t *Terminal) height() int {
	_, rows, err := term.GetSize(int(t.c.Out.Fd()))
	if err != nil || rows <= 0 {
		return 24
	}
	return rows
}
