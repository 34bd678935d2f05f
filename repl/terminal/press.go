package terminal

import (
	"context"
	"io"
	"os"

	"github.com/chzyer/readline"
)

// Interrupt is Ctrl-C as a key.
const Interrupt = keyInterrupt

// Key waits for a key while a command runs, and takes it away from the next line; 0 is one that is no character. It ends
// with ErrInterrupt when ctx does.
func (t *Terminal) Key(ctx context.Context) (rune, error) {
	stop := context.AfterFunc(ctx, t.keys.wake)
	defer stop()
	e, err := t.keys.next1(ctx)
	return e.r, err
}

// Keys are the keys of a terminal that no Terminal has: for a single command. Ctrl-C is one of them, Ctrl-Z suspends.
type Keys struct {
	in     *os.File
	before *readline.State
	bytes  chan byte // what was read; closed when the terminal went away
}

// OpenKeys makes keys come as they are pressed, and not be drawn.
func OpenKeys(in *os.File) (*Keys, error) {
	k := &Keys{in: in, bytes: make(chan byte)}
	var err error
	if k.before, err = readline.MakeRaw(int(in.Fd())); err != nil {
		return nil, err
	}
	go func() { // until the process ends: nobody else reads there
		defer close(k.bytes)
		b := make([]byte, 1)
		for {
			if n, err := in.Read(b); n == 0 || err != nil {
				return
			}
			k.bytes <- b[0]
		}
	}()
	return k, nil
}

// Next waits for a key, until ctx ends.
func (k *Keys) Next(ctx context.Context) (rune, error) {
	for {
		select {
		case b, ok := <-k.bytes:
			switch {
			case !ok:
				return 0, io.EOF
			case b == keySuspend:
				k.Close()
				stopJob()
				readline.MakeRaw(int(k.in.Fd()))
				continue
			}
			return rune(b), nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// Close makes the terminal what it was.
func (k *Keys) Close() { readline.Restore(int(k.in.Fd()), k.before) }
