package arena

import (
	"math/rand/v2"
	"testing"
)

func BenchmarkAllocFree(b *testing.B) {
	a, err := New(Options{Range: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	h := a.Heap(0)
	const n = 1 << 20
	refs := make([]Ref, n)
	for i := range refs {
		refs[i], _ = h.Alloc(60)
	}
	i := uint64(1)
	for b.Loop() {
		// As overwriting at random does: a new one, and some old one goes.
		i ^= i << 13
		i ^= i >> 7
		i ^= i << 17
		at := i % n
		r, _ := h.Alloc(60)
		h.Free(refs[at])
		refs[at] = r
	}
}

// How much of what is resident objects take, filled with random sizes.
func BenchmarkFill(b *testing.B) {
	for b.Loop() {
		a, err := New(Options{Range: 1 << 30})
		if err != nil {
			b.Fatal(err)
		}
		h := a.Heap(0)
		rnd := rand.New(rand.NewPCG(1, 2))
		asked := 0
		for range 200_000 {
			n := 1 + rnd.IntN(1024)
			h.Alloc(n)
			asked += n
		}
		b.ReportMetric(float64(a.Figures().Resident)/float64(asked), "resident/asked")
		a.Close()
	}
}
