package peers

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// BenchmarkFill fills an empty table with one goroutine, times every single set, and reports how long they took and what
// a key costs in memory: live, right after a collection, and resident, with what the collector has not given back yet.
// GOGC says how much that is. Meant for -benchtime 1x, one table a process: memory is measured from where it stood before.
func BenchmarkFill(b *testing.B) {
	for _, size := range []struct {
		name string
		keys int
	}{{"2M", 2_000_000}, {"10M", 10_000_000}} {
		for _, kind := range tables {
			b.Run(size.name+"/"+kind.name, func(b *testing.B) {
				for b.Loop() {
					timedFill(b, kind.open(), size.keys)
				}
			})
		}
	}
}

func timedFill(b *testing.B, t table, keys int) {
	defer t.close()
	took := hdrhistogram.New(1, int64(10*time.Second), 3)
	set := t.writer()
	key, value := make([]byte, 0, keySize), make([]byte, valueSize)
	debug.FreeOSMemory()
	heapBefore, residentBefore := liveHeap(), resident(b)

	begin := time.Now()
	last := begin
	for i := range uint64(keys) {
		key = appendKey(key[:0], i)
		binary.BigEndian.PutUint64(value, i)
		set(key, value)
		now := time.Now()
		if err := took.RecordValue(int64(now.Sub(last))); err != nil {
			b.Fatal(err)
		}
		last = now
	}
	perSet := time.Since(begin) / time.Duration(keys)

	residentAfter := resident(b)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(perSet), "ns/set")
	for _, p := range []float64{50, 99, 99.9, 99.99} {
		b.ReportMetric(float64(took.ValueAtPercentile(p))/1e3, fmt.Sprintf("p%v-us", p))
	}
	b.ReportMetric(float64(took.Max())/1e3, "max-us")
	b.ReportMetric(float64(residentAfter-residentBefore)/float64(keys), "resident-B/key")
	b.ReportMetric(float64(liveHeap()-heapBefore)/float64(keys), "live-B/key")
	runtime.KeepAlive(t)
}

// liveHeap collects and returns the bytes of the objects that are alive.
func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// resident returns the process's resident memory in bytes.
func resident(b *testing.B) int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.ParseInt(strings.TrimSpace(strings.SplitN(rest, "kB", 2)[0]), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib << 10
}
