package terminal

import (
	"bufio"
	"context"
	"io"
	"strings"
	"sync"
	"unicode/utf8"
)

// Plain reads lines from a terminal that knows no escape sequences, and sends it none: the system's own line editing, no
// completion, no searching. Its methods do what those of a Terminal do.
type Plain struct {
	c       Config
	history *history
	lines   chan string   // what was entered; closed when the terminal went away
	stopped chan struct{} // closed by HangUp
	hangUp  sync.Once
	ctrlC   chan struct{} // holds a token when Ctrl-C came while no command ran

	mu     sync.Mutex // guards cancel
	cancel func()     // not nil: a command runs, and this is how to stop it
}

// OpenPlain opens a terminal that knows no escape sequences. Who calls it makes Ctrl-C, which is a signal there, call Interrupt.
func OpenPlain(c Config) *Plain {
	p := &Plain{
		c: c, history: openHistory(c.HistoryFile, c.Secret),
		lines: make(chan string), stopped: make(chan struct{}), ctrlC: make(chan struct{}, 1),
	}
	go func() { // until the process ends: nobody else reads there
		defer close(p.lines)
		in := bufio.NewReader(c.In)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return // half a line is none
			}
			p.lines <- strings.TrimRight(line, "\r\n")
		}
	}()
	return p
}

// Line asks for a line.
func (p *Plain) Line(prompt string) (string, error) {
	io.WriteString(p.c.Out, prompt)
	return p.read(context.Background())
}

func (p *Plain) read(ctx context.Context) (string, error) {
	select {
	case line, ok := <-p.lines:
		switch {
		case !ok:
			return "", io.EOF
		case !utf8.ValidString(line):
			return "", ErrNotUTF8
		}
		return line, nil
	case <-p.ctrlC:
		io.WriteString(p.c.Out, "\n")
		return "", ErrInterrupt
	case <-ctx.Done():
		return "", ErrInterrupt
	case <-p.stopped:
		return "", io.EOF
	}
}

// Ask asks for a line beside the commands, while one runs, and shows it where echo says so.
func (p *Plain) Ask(ctx context.Context, prompt string, echo bool) (string, error) {
	if !echo {
		restore, err := silence(p.c.In)
		if err != nil {
			return "", err
		}
		defer io.WriteString(p.c.Out, "\n")
		defer restore()
	}
	io.WriteString(p.c.Out, prompt)
	return p.read(ctx)
}

// Key waits until ctx ends: single keys are not to be had.
func (p *Plain) Key(ctx context.Context) (rune, error) {
	<-ctx.Done()
	return 0, ErrInterrupt
}

// SetPrompt does nothing: what is on the screen stays there.
func (p *Plain) SetPrompt(string) {}

// Remember adds a line to the history.
func (p *Plain) Remember(line string) {
	if line != "" {
		p.history.add(line)
	}
}

// Running makes Ctrl-C call cancel until stop is called.
func (p *Plain) Running(cancel func()) (stop func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel = cancel
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cancel = nil
	}
}

// Interrupt does what Ctrl-C does.
func (p *Plain) Interrupt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel != nil {
		p.cancel()
		return
	}
	select {
	case p.ctrlC <- struct{}{}:
	default:
	}
}

// Lend lets other programs use the terminal, which reads a line ahead.
func (p *Plain) Lend() (back func()) { return func() {} }

// HangUp makes Line return io.EOF, now and ever after.
func (p *Plain) HangUp() { p.hangUp.Do(func() { close(p.stopped) }) }

// Close gives the terminal back.
func (p *Plain) Close() { p.history.close() }
