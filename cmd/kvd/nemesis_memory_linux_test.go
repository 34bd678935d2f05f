package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// settled is how long a node's memory may grow: until then all that there ever is has been there.
const settled = 10 * time.Minute

// trend is the line through what was measured (least squares).
type trend struct{ n, x, y, xx, xy, least, most float64 }

func (l *trend) add(x, y float64) {
	if l.n == 0 || y < l.least {
		l.least = y
	}
	l.most = max(l.most, y)
	l.n, l.x, l.y, l.xx, l.xy = l.n+1, l.x+x, l.y+y, l.xx+x*x, l.xy+x*y
}

func (l *trend) slope() float64 { return (l.n*l.xy - l.x*l.y) / (l.n*l.xx - l.x*l.x) }

// watchMemory writes a line every ten seconds until ctx ends: the seconds so far, and what each node has resident, in KiB, 0: it is not running. Then it notes by
// how much each grew an hour, once it had settled, if it was the same process all the while.
func (w *world) watchMemory(ctx context.Context, path string) {
	file, err := os.Create(path)
	require.NoError(w.t, err)
	defer file.Close()
	trends := map[int]*trend{} // by process
	for begin := time.Now(); ctx.Err() == nil; w.pause(10_000, 1) {
		since := time.Since(begin)
		line := fmt.Sprintf("%.0f", since.Seconds())
		for _, m := range w.all {
			pid, kib := m.pid(), 0
			if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
				_, rest, _ := strings.Cut(string(text), "VmRSS:")
				fmt.Sscan(rest, &kib)
			}
			if line += fmt.Sprintf(" %d", kib); kib > 0 && since > settled {
				if trends[pid] == nil {
					trends[pid] = &trend{}
				}
				trends[pid].add(since.Hours(), float64(kib)/1024)
			}
		}
		fmt.Fprintln(file, line)
	}
	for _, l := range trends {
		if l.n > 60 {
			w.note("a node's memory was %.1f to %.1f MiB, and grew by %.1f MiB an hour, over %.0f minutes", l.least, l.most, l.slope(), l.n/6)
		}
	}
}
