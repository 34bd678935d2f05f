package terminal

import (
	"context"
	"io"
	"os"
	"sync"

	"github.com/chzyer/readline"
)

// Keys that matter here. The others are readline's business.
const (
	keyInterrupt  = 3
	keyEOF        = 4
	keyBackspace2 = 8
	keyTab        = 9
	keyNewline    = 10
	keyEnter      = 13
	keySearchBack = 18
	keySearchFwd  = 19
	keyKillFront  = 21
	keySuspend    = 26
	keyEscape     = 27
	keyBackspace  = 127
	keyLineEnd    = 5
	keyForward    = 6
	keyKillWord   = 23
	keyWordLeft   = readline.MetaBackward
	keyWordRight  = readline.MetaForward
	keyWordDelete = readline.MetaDelete
	keyWordErase  = readline.MetaBackspace
)

// Stand-ins are noncharacters, which no text may hold; from the keyboard they count as invalid. They live in readline's
// buffer, and are never drawn as they are.
const (
	fill1   = '\uFDD0'     // follows a rune that takes two columns where readline counts one
	fill0   = '\U000E0001' // follows a rune that takes two columns where readline counts two; itself it counts none
	tab     = '\uFDD1'     // a TAB
	invalid = '\uFDD2'     // a byte that is not UTF-8
	paste   = '\uFDD3'     // text that waits in keys.pasted
	del     = '\uFDD4'     // the Delete key
)

// event is one key, or one rune of a paste.
type event struct {
	r        rune
	sequence string // an escape sequence, to be passed on as it is; r is then 0
	alone    bool   // not to be put into the line together with others
}

func (e event) text() bool {
	return e.sequence == "" && e.r >= ' ' && e.r != keyBackspace && e.r != del
}

// keys reads the terminal all the time and hands readline what is for it, when it is for it.
type keys struct {
	in      *os.File
	reading sync.Mutex // held by who reads the terminal: pump, while there is something, or a program that it is lent to
	suspend func()     // what Ctrl-Z does, at once, whatever runs; set before pump begins

	mu     sync.Mutex // guards all below
	change sync.Cond  // signalled when any of it changes
	queue  []event
	ready  bool          // a line is being asked for: readline may read
	pasted []rune        // what the paste stand-in that was read stands for; nothing more is read before that is taken
	cancel func()        // not nil: a command runs, and this is how to stop it
	closed bool          // the terminal went away, or Close was called
	next   chan struct{} // not nil: closed at the next key

	decoder decoder
}

func newKeys(in *os.File) *keys {
	k := &keys{in: in}
	k.change.L = &k.mu
	return k
}

// pump reads the terminal until it goes away.
func (k *keys) pump() {
	buf := make([]byte, 16<<10)
	for {
		if err := k.awaitInput(); err != nil {
			k.Close()
			return
		}
		n, err := k.in.Read(buf)
		k.reading.Unlock()
		k.feed(buf[:n])
		if err != nil {
			k.Close()
			return
		}
	}
}

func (k *keys) feed(b []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range b {
		k.decoder.decode(c, k.take)
	}
	k.change.Broadcast()
}

// take puts an event into the queue, or acts on it. The lock is held.
func (k *keys) take(e event) {
	if e.r == keySuspend {
		if k.suspend != nil {
			k.suspend()
		}
		return
	}
	if k.cancel != nil {
		switch e.r {
		case keyInterrupt:
			k.queue = nil
			k.cancel()
			return
		case keyEOF:
			return
		}
	}
	k.queue = append(k.queue, e)
	if k.next != nil {
		close(k.next)
		k.next = nil
	}
}

// typed returns a channel that is closed when a key comes, or waits already. Nobody waits for it after forget.
func (k *keys) typed() (_ <-chan struct{}, forget func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := make(chan struct{})
	if k.next = next; len(k.queue) > 0 {
		close(next)
		k.next = nil
	}
	return next, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.next = nil
	}
}

// Read gives readline one key, or the stand-in for all the text that waits. It waits until a line is asked for.
func (k *keys) Read(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for !k.closed && (!k.ready || len(k.queue) == 0 || k.pasted != nil) {
		k.change.Wait()
	}
	if k.closed {
		return 0, io.EOF
	}
	e := k.queue[0]
	if n := k.textWaiting(); n > 1 {
		text := make([]rune, n)
		for i := range text {
			text[i] = k.queue[i].r
		}
		k.queue = k.queue[n:]
		k.pasted = text
		return copy(p, string(paste)), nil
	}
	k.queue = k.queue[1:]
	if e.sequence != "" {
		return copy(p, e.sequence), nil
	}
	if e.r == keyEnter || e.r == keyNewline || e.r == keyInterrupt {
		k.ready = false // what comes after it is for the next line
	}
	return copy(p, string(e.r)), nil
}

// textWaiting is how many events at the front of the queue are text that may go into the line together.
func (k *keys) textWaiting() int {
	for i, e := range k.queue {
		if !e.text() || e.alone {
			return i
		}
	}
	return len(k.queue)
}

// Close makes Read return io.EOF.
func (k *keys) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	if k.cancel != nil {
		k.cancel()
	}
	k.change.Broadcast()
	return nil
}

func (k *keys) gone() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.closed
}

// next1 takes the next key away from readline, which reads none while no line is asked for. It waits for one until ctx ends
// and wake is called.
func (k *keys) next1(ctx context.Context) (event, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for !k.closed && ctx.Err() == nil && len(k.queue) == 0 {
		k.change.Wait()
	}
	switch {
	case k.closed:
		return event{}, io.EOF
	case ctx.Err() != nil:
		return event{}, ErrInterrupt
	}
	e := k.queue[0]
	k.queue = k.queue[1:]
	return e, nil
}

func (k *keys) wake() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.change.Broadcast()
}

// open lets readline read.
func (k *keys) open() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ready = true
	k.change.Broadcast()
}

func (k *keys) running(cancel func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cancel = cancel
	if cancel == nil {
		return
	}
	// What was typed before the command began, but after its Enter, was typed at it.
	for i, e := range k.queue {
		if e.r == keyInterrupt {
			k.queue = k.queue[i+1:]
			cancel()
			return
		}
	}
	if k.closed {
		cancel()
	}
}

func (k *keys) interrupt() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.take(event{r: keyInterrupt})
	k.change.Broadcast()
}

// takePasted returns the text that the paste stand-in stands for.
func (k *keys) takePasted() []rune {
	k.mu.Lock()
	defer k.mu.Unlock()
	text := k.pasted
	k.pasted = nil
	k.change.Broadcast()
	return text
}

// unpaste makes the text that the paste stand-in stands for come rune by rune instead.
func (k *keys) unpaste() {
	k.mu.Lock()
	defer k.mu.Unlock()
	front := make([]event, len(k.pasted), len(k.pasted)+len(k.queue))
	for i, r := range k.pasted {
		front[i] = event{r: r, alone: true}
	}
	k.queue = append(front, k.queue...)
	k.pasted = nil
	k.change.Broadcast()
}
