package files

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLock: many count in one file, by its name, by a link to it, and before it is there.
func TestLock(t *testing.T) {
	d := dir(t)
	require.NoError(t, os.Symlink("count", d+"/link"))
	const each = 20
	var all sync.WaitGroup
	for _, name := range []string{"count", "link", "count", "link"} {
		all.Go(func() {
			for range each {
				unlock, err := Lock(t.Context(), d+"/"+name)
				if !assert.NoError(t, err) {
					return
				}
				b, _ := os.ReadFile(d + "/" + name)
				n, _ := strconv.Atoi(string(b))
				assert.NoError(t, Write(t.Context(), d+"/"+name, 0o600, func(w io.Writer) error {
					_, err := fmt.Fprint(w, n+1)
					return err
				}))
				unlock()
			}
		})
	}
	all.Wait()
	assert.Equal(t, strconv.Itoa(4*each), content(t, d+"/count"))
}

// TestLockThatIsGivenUp: a waiter that gave up does not keep the lock from others later.
func TestLockThatIsGivenUp(t *testing.T) {
	d := dir(t)
	unlock, err := Lock(t.Context(), d+"/file")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Lock(ctx, d+"/file")
	require.ErrorIs(t, err, context.Canceled)
	unlock()
	unlock, err = Lock(t.Context(), d+"/file")
	require.NoError(t, err)
	unlock()
	_, err = Lock(t.Context(), d+"/nowhere/file")
	require.ErrorAs(t, err, new(*NameError))
}
