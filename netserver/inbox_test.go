package netserver

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzInbox drives an inbox as a connection does, in any order of reads and waits, with records that have their length
// before them: each is seen once, whole and in order, or was refused; what has come is kept in memory that was claimed;
// and in the end all of that is given back.
func FuzzInbox(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{1, 2, 3, 4, 5}, uint32(1<<20))
	f.Add([]byte{0, 0, 0}, []byte{3}, uint32(0))
	f.Add([]byte{220, 5, 230, 5, 255}, []byte{255, 255, 7, 255, 128, 200}, uint32(1<<20))
	f.Add([]byte{220, 5, 230, 5, 255}, []byte{255, 9}, uint32(60_000))
	f.Add([]byte{199, 199, 201, 202, 203}, []byte{250, 1, 250, 0}, uint32(4096))
	f.Fuzz(func(t *testing.T, sizes, cuts []byte, memory uint32) {
		if len(sizes) > 40 || len(cuts) == 0 {
			return
		}
		var stream []byte
		for i, b := range sizes { // most are short, some longer than a window
			size := int(b) * 5
			if b > 200 {
				size = int(b-200) * 5000
			}
			stream = binary.BigEndian.AppendUint32(stream, uint32(size))
			stream = append(stream, bytes.Repeat([]byte{byte(i)}, size)...)
		}
		if len(stream) > 600_000 {
			return
		}
		const readAway = 100_000 // a record so long is not kept, whatever there is room for
		memoryPool := newPool(int64(memory % (2 << 20)))
		in := &inbox{memory: memoryPool}
		window := make([]byte, workspaceSize)
		next, refused := 0, false // the record that is due, and whether it is being read away
		answer := func() {
			p := in.bytes()
			if refused {
				next, refused = next+1, false
			}
			used, need, finished := 0, 0, false
			for len(p)-used >= 4 {
				size := int(binary.BigEndian.Uint32(p[used:]))
				if size >= readAway {
					used, refused = used+4+size, true
					break
				}
				if need = 4 + size; len(p)-used < need {
					break
				}
				require.Equal(t, byte(next), append(p[used+4:used+need:used+need], byte(next))[0])
				require.Equal(t, size, bytes.Count(p[used+4:used+need], []byte{byte(next)}))
				next, used, need, finished = next+1, used+need, 0, true
			}
			in.use(used, finished)
			if !in.require(need) {
				turnDown(in)
				refused = true
			}
		}
		in.open(window)
		for at, i := 0, 0; at < len(stream); i++ {
			cut := int(cuts[i%len(cuts)])
			if i > 2000 {
				cut = 200 // or it would take long
			}
			p := in.space()
			if p == nil {
				turnDown(in)
				refused = true
				p = in.space()
			}
			require.NotEmpty(t, p)
			n := copy(p[:min(len(p), 1+cut*cut)], stream[at:])
			at += n
			in.arrived(n)
			if in.ready() {
				answer()
			}
			if cut%3 == 0 { // wait
				if !in.close() {
					turnDown(in)
					refused = true
					require.True(t, in.close())
				}
				require.LessOrEqual(t, cap(in.kept), max(freeRest, int(memoryPool.used.Load())))
				in.open(window)
			}
		}
		if refused && in.ready() {
			answer()
		}
		require.Equal(t, len(sizes), next)
		require.False(t, in.unfinished())
		in.drop()
		require.Zero(t, memoryPool.used.Load())
	})
}

// turnDown has the record that has come in part read away.
func turnDown(in *inbox) {
	in.use(4+int(binary.BigEndian.Uint32(in.bytes())), false)
}
