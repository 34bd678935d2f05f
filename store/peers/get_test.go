package peers

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// batch is how many keys a reader looks up between two looks at the clock, or at the benchmark's counter.
const batch = 500

// sink keeps the compiler from dropping what was read.
var sink atomic.Int64

var sizes = []struct {
	name string
	keys int
}{{"1k", 1_000}, {"1M", 1_000_000}, {"10M", 10_000_000}}

// BenchmarkGet looks up keys that are there, with as many goroutines as -cpu says. Besides the time it reports the CPU time
// of a get, which other programs on the machine disturb less.
func BenchmarkGet(b *testing.B) {
	forEach(b, func(b *testing.B, t table, a *asked, keys int) {
		b.ReportAllocs()
		begin := cpuTime(b)
		b.RunParallel(func(pb *testing.PB) {
			read, sum := t.reader(), 0
			for from := rand.IntN(keys / batch); ; from++ {
				n := 0
				for n < batch && pb.Next() {
					n++
				}
				if n == 0 {
					break
				}
				sum += read(a, from%(keys/batch)*batch, n)
			}
			sink.Add(int64(sum))
		})
		b.ReportMetric(float64(cpuTime(b)-begin)/float64(b.N), "cpu-ns/op")
	})
}

// cpuTime returns the CPU time that the process has taken.
func cpuTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkGetBesideWriter measures one reader, in turns alone and beside a writer on another core that sets keys as fast
// as it can, and reports what the reader loses. It needs two cores: -cpu 2.
func BenchmarkGetBesideWriter(b *testing.B) {
	forEach(b, func(b *testing.B, t table, a *asked, keys int) {
		const turn = 200_000 // keys read alone, and as many beside
		read := t.reader()
		at, sum := 0, 0
		reads := func() time.Duration {
			begin := time.Now()
			for range turn / batch {
				sum += read(a, at, batch)
				at = (at + batch) % (keys / batch * batch)
			}
			return time.Since(begin)
		}
		var alone, beside time.Duration
		var written int64
		for b.Loop() {
			alone += reads()
			stop := besideWriter(t, keys)
			beside += reads()
			written += stop()
		}
		sink.Add(int64(sum))
		n := float64(b.N) * turn
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(alone)/n, "alone-ns/get")
		b.ReportMetric(float64(beside)/n, "beside-ns/get")
		b.ReportMetric(100*(1-float64(alone)/float64(beside)), "%-lost")
		b.ReportMetric(float64(written)/beside.Seconds(), "sets/s")
	})
}

// besideWriter starts a writer of t, waits until it writes, and returns what stops it and says how much it wrote.
func besideWriter(t table, keys int) (stop func() int64) {
	var over atomic.Bool
	var written int64
	var done sync.WaitGroup
	begun := make(chan struct{})
	done.Add(1)
	go func() {
		defer done.Done()
		set := t.writer()
		var key [keySize]byte
		var value [valueSize]byte
		for ; !over.Load(); written++ {
			set(appendKey(key[:0], rand.Uint64N(uint64(keys))), value[:])
			if written == 0 {
				close(begun)
			}
		}
	}()
	<-begun
	return func() int64 {
		over.Store(true)
		done.Wait()
		return written
	}
}

// forEach runs a benchmark for each size and table.
func forEach(b *testing.B, run func(b *testing.B, t table, a *asked, keys int)) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			var a *asked
			for _, kind := range tables {
				var t table
				b.Run(kind.name, func(b *testing.B) {
					if a == nil {
						a = ask(size.keys)
					}
					if t == nil { // the same for every b.N
						t = kind.open()
						fill(t, size.keys)
						runtime.GC()
					}
					b.ResetTimer()
					run(b, t, a, size.keys)
				})
				if t != nil {
					t.close()
				}
			}
		})
	}
}
