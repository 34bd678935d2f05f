package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// settled is how long a node's memory may grow: after that the data and the log have reached their full size.
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

// watchMemory writes a line every ten seconds until ctx ends: the seconds so far, and of each node what it has
// resident, and what of Go's heap was alive after the last collection, in KiB, 0: it is not running, or does not
// answer. Then it notes by how much each grew an hour, once it had settled, if it was the same process all the while.
//
// What is resident is what is alive and garbage, of which there are 20 MiB now and then, and none at times; what is
// held for ever shows in what is alive.
func (w *world) watchMemory(ctx context.Context, path string) {
	file, err := os.Create(path)
	require.NoError(w.t, err)
	defer file.Close()
	trends, alive := map[int]*trend{}, map[int]*trend{} // by process
	for begin := time.Now(); ctx.Err() == nil; w.pause(10_000, 1) {
		since := time.Since(begin)
		line := fmt.Sprintf("%.0f", since.Seconds())
		for _, m := range w.all {
			pid, kib := m.pid(), 0
			if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
				_, rest, _ := strings.Cut(string(text), "VmRSS:")
				fmt.Sscan(rest, &kib)
			}
			live := liveHeap(ctx, m)
			line += fmt.Sprintf(" %d/%d", kib, live>>10)
			if since < settled {
				continue
			}
			if trends[pid] == nil {
				trends[pid], alive[pid] = &trend{}, &trend{}
			}
			if kib > 0 {
				trends[pid].add(since.Hours(), float64(kib)/1024)
			}
			if live > 0 {
				alive[pid].add(since.Hours(), float64(live)/(1<<20))
			}
		}
		fmt.Fprintln(file, line)
	}
	for pid, l := range trends {
		if l.n > 60 {
			a := alive[pid]
			w.note("a node's memory was %.1f to %.1f MiB, and grew by %.1f MiB an hour, over %.0f minutes; of its heap %.1f to %.1f MiB were alive, and %.1f an hour more",
				l.least, l.most, l.slope(), l.n/6, a.least, a.most, a.slope())
		}
	}
}

// liveHeap is how many bytes of a node's heap the last collection left, 0: it does not answer.
func liveHeap(ctx context.Context, m *member) int64 {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "GET", "http://"+m.web+"/metrics", nil)
	if err != nil {
		return 0
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "\ngo_gc_heap_live_bytes ")
	var live float64
	fmt.Sscan(rest, &live)
	return int64(live)
}
