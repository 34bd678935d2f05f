package wal_test

import (
	"io"
	"log/slog"
	"testing"

	"kv/store"
	"kv/store/vfs/vfstest"
	"kv/store/wal"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/record"
	"kv/store/wal/tool"
)

// framed makes a file of the pieces of data, each a byte of length (of which the highest bit says that the piece comes as it
// is, without a frame around it) and that many bytes: so that what is behind the checksums is fuzzed too.
func framed(h frame.Header, data []byte) []byte {
	enc := frame.NewEncoder(h)
	enc.Header(h)
	for len(data) > 0 {
		n := min(int(data[0]&0x7f), len(data)-1)
		piece := data[1 : 1+n]
		if data[0]&0x80 != 0 {
			enc.Buf = append(enc.Buf, piece...)
		} else {
			enc.Frame(piece)
		}
		data = data[1+n:]
	}
	return enc.Buf
}

// read recovers, checks and repairs a folder of these files. Nothing may panic, and after the repair it must start.
func read(t *testing.T, files map[string][]byte) {
	m := vfstest.NewMem()
	for name, data := range files {
		m.WriteFile("/data/"+name, data)
	}
	recover := func(m *vfstest.Mem) error {
		l, err := wal.Open(wal.Options{FS: m, Dir: "/data", ReserveBytes: 1000, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ignore := func([]*store.Entry) {}
		_, err = l.Replay(ignore, ignore)
		return err
	}
	report, err := tool.Check(m, "/data")
	if err == nil {
		if got := recover(m.Crash(100, nil)); (got != nil) != report.Damaged() {
			t.Fatalf("check finds %v, recovery %v", report.Problems, got)
		}
	} else if recover(m) == nil {
		t.Fatalf("check fails with %v, recovery does not", err)
	} else {
		return
	}
	if _, err := tool.Repair(m, "/data"); err != nil {
		t.Logf("repair: %v", err)
		return
	}
	if err := recover(m); err != nil {
		t.Fatalf("after the repair: %v", err)
	}
}

func recordOf(version byte, entries ...byte) []byte {
	b := append([]byte{0, 0, 0, 0, 0, 0, 0, version, 0, 0, 0, 0, 0, 0, 0, 36}, entries...)
	return append([]byte{byte(len(b))}, b...)
}

func FuzzLog(f *testing.F) {
	entry := []byte{0, 0, 0, 0, 1, 0, 0, 0, 1, 'k', 'v'}
	gone := []byte{1, 0, 0, 0, 1, 0, 0, 0, 0, 'k'}
	lock := []byte{2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 'l', 'v'}
	one, two, three := recordOf(1, entry...), recordOf(2, gone...), recordOf(3, append(entry, lock...)...)
	f.Add(one, false)
	f.Add(append(append(append([]byte{}, one...), two...), three...), true)
	f.Add(append(append(append([]byte{}, one...), 0x83, 1, 2, 3), three...), false)
	f.Add(append(append([]byte{}, one...), recordOf(0)...), false)
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) {
		h := frame.Header{Magic: frame.MagicLog, ID: 7, Seq: 1, Base: 0}
		files := map[string][]byte{folder.LogName(1): framed(h, data)}
		if sealed {
			next := frame.Header{Magic: frame.MagicLog, ID: 7, Seq: 2, Base: int64(len(files[folder.LogName(1)]))}
			files[folder.LogName(2)] = next.Append(nil)
			// An empty log that was given up while it was begun, and one that says more than there is.
			for _, base := range []int64{next.Base / 2, next.Base + 1} {
				next.Base = base
				read(t, map[string][]byte{folder.LogName(1): files[folder.LogName(1)], folder.LogName(2): next.Append(nil)})
			}
		}
		read(t, files)
		read(t, map[string][]byte{folder.LogName(1): data})
	})
}

func FuzzSnapshot(f *testing.F) {
	block := []byte{record.KindBlock, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 1, 0, 0, 0, 1, 'k', 'v'}
	tail := append([]byte{record.KindTail}, block[1:]...)
	end := func(entries, blocks byte) []byte {
		return []byte{record.KindTrailer, 0, 0, 0, 0, 0, 0, 0, entries, 0, 0, 0, 0, 0, 0, 0, blocks, 0, 0, 0, 0, 0, 0, 0, 9}
	}
	piece := func(b []byte) []byte { return append([]byte{byte(len(b))}, b...) }
	f.Add(append(piece(block), piece(end(1, 1))...))
	f.Add(append(append(piece(block), piece(tail)...), piece(end(2, 2))...))
	f.Add(append(piece(block), piece(end(1, 2))...))
	f.Add(piece(end(0, 0)))
	f.Add(piece(block))
	f.Fuzz(func(t *testing.T, data []byte) {
		log := frame.Header{Magic: frame.MagicLog, ID: 7, Seq: 3, Base: 0}.Append(nil)
		read(t, map[string][]byte{folder.SnapshotName(3): framed(frame.Header{Magic: frame.MagicSnapshot, ID: 7, Seq: 3, Base: 0}, data), folder.LogName(3): log})
		read(t, map[string][]byte{folder.SnapshotName(3): data, folder.LogName(3): log})
	})
}
