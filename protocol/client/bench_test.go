package client

import (
	"context"
	"fmt"
	"testing"

	"kv/protocol"
	"kv/protocol/fakeserver"
)

// BenchmarkGet is round trips through one connection to a server in the same process, by so many goroutines.
func BenchmarkGet(b *testing.B) {
	for _, goroutines := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(goroutines), func(b *testing.B) {
			c := dial(b, fakeserver.Start(b, answering(echo)), Options{})
			key := []byte("key:000000000001")
			b.ReportAllocs()
			b.SetParallelism(goroutines)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := c.Get(context.Background(), key); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkStart is the same with one goroutine that keeps so many requests under way.
func BenchmarkStart(b *testing.B) {
	for _, depth := range []int{16, 256} {
		b.Run(fmt.Sprint(depth), func(b *testing.B) {
			c := dial(b, fakeserver.Start(b, answering(echo)), Options{})
			q := protocol.Set{Key: []byte("key:000000000001"), Value: make([]byte, 32)}
			b.ReportAllocs()
			window := make([]*Call, depth)
			for i := range b.N {
				if old := window[i%depth]; old != nil {
					if _, _, err := old.Wait(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
				window[i%depth] = c.Start(context.Background(), q.AppendTo)
			}
			for _, k := range window[:min(depth, b.N)] {
				if _, _, err := k.Wait(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
