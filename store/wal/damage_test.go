package wal_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/vfs"
	"kv/store/vfs/vfstest"
	"kv/store/wal"
	"kv/store/wal/folder"
	"kv/store/wal/tool"
)

// made is a data folder, with what is known of how it came to be.
type made struct {
	*ledger
	files map[string][]byte
	o     wal.Options
	known map[[2]string]bool // every key with each value that it ever had
}

// makeFolder lets one session work on so many keys in steps, with a snapshot where steps say so by being 0. If closed
// is false the power fails at the end, with nothing lost.
func makeFolder(t *testing.T, keys int, o wal.Options, closed bool, steps ...int) *made {
	f := &made{ledger: newLedger(keys), o: o, known: map[[2]string]bool{}}
	mem := vfstest.NewMem()
	n := mustStart(t, mem, o, store.Options{})
	rng := rand.New(rand.NewPCG(1, 2))
	for i, k := range steps {
		if k == 0 {
			_, _, err := n.log.Snapshot(context.Background())
			require.NoError(t, err)
			continue
		}
		require.NoError(t, f.work(n.st, i, k, rng))
	}
	if closed {
		require.NoError(t, n.stop())
		f.files = mem.Snapshot()
	} else {
		require.Eventually(t, func() bool { return n.log.Stats().Queued == 0 }, time.Minute, time.Millisecond)
		f.files = mem.Snapshot()
		require.NoError(t, n.stop())
	}
	delete(f.files, "/data/LOCK")
	for _, w := range f.writes {
		for k, v := range w {
			f.known[[2]string{k, v}] = true
		}
	}
	return f
}

// with returns the folder with one file changed; nil: removed.
func (f *made) with(name string, data []byte) *vfstest.Mem {
	m := vfstest.NewMem()
	for n, b := range f.files {
		if n != name {
			m.WriteFile(n, b)
		}
	}
	if data != nil {
		m.WriteFile(name, data)
	}
	return m
}

// verify recovers a folder that was changed: a refusal with its reason, or the state after a prefix of the writes. It also
// holds Check and Repair to their words: Check knows whether recovery will refuse; after Repair it does not, and every value
// is one that was written.
func (f *made) verify(t *testing.T, m *vfstest.Mem, least uint64, what string) (refused bool) {
	report, err := tool.Check(m, "/data")
	require.NoError(t, err, what)
	state, _, err := recovered(m.Crash(100, nil), f.o)
	require.Equal(t, report.Damaged(), err != nil, "%s: check says %v, recovery says %v", what, report.Problems, err)
	if err == nil {
		f.check(t, state, least, what)
		return false
	}
	var damage *folder.DamageError
	require.ErrorAs(t, err, &damage, what)
	require.ErrorContains(t, err, "kvd repair /data", what)

	_, err = tool.Repair(m, "/data")
	require.NoError(t, err, what)
	report, err = tool.Check(m, "/data")
	require.NoError(t, err, what)
	require.False(t, report.Damaged(), "%s: after the repair: %v", what, report.Problems)
	state, _, err = recovered(m, f.o)
	require.NoError(t, err, "%s: after the repair", what)
	for k, v := range state {
		require.True(t, f.known[[2]string{k, v}], "%s: after the repair %q has the value %q, which nobody wrote", what, k, v)
	}
	return true
}

// folders returns one of several logs, one with a snapshot, and one that was not closed: some hundred bytes of each, in the
// long form 64 KiB.
func folders(t *testing.T) map[string]*made {
	steps, before, keys, rotate := 25, 25, 8, int64(1200)
	if soak() {
		steps, before, keys, rotate = 700, 2400, 1300, 30_000
	}
	o := wal.Options{Sync: wal.Always, RotateBytes: rotate, SnapshotBytes: -1, ReserveBytes: 1500}
	return map[string]*made{
		"logs":     makeFolder(t, 8, o, true, steps),
		"snapshot": makeFolder(t, keys, o, true, before, 0, steps),
		"crashed":  makeFolder(t, 8, o, false, steps),
	}
}

// last returns the name of the log that was being written.
func (f *made) last() string {
	var logs []string
	for n := range f.files {
		if strings.Contains(n, "/log-") {
			logs = append(logs, n)
		}
	}
	slices.Sort(logs)
	return logs[len(logs)-1]
}

func TestEveryCut(t *testing.T) {
	for name, f := range folders(t) {
		t.Run(name, func(t *testing.T) {
			last := f.last()
			for file, data := range f.files {
				for n := range data {
					what := fmt.Sprintf("%s cut to %d of %d bytes", file, n, len(data))
					refused := f.verify(t, f.with(file, data[:n:n]), 0, what)
					require.True(t, refused || file == last, "%s: a file that was complete", what)
				}
			}
		})
	}
}

func TestEveryBit(t *testing.T) {
	stride := 7
	if soak() {
		stride = 1
	}
	for name, f := range folders(t) {
		last := f.last()
		for file, data := range f.files {
			t.Run(name+file, func(t *testing.T) {
				t.Parallel()
				for bit := 0; bit < 8*len(data); bit += stride {
					b := slices.Clone(data)
					b[bit/8] ^= 1 << (bit % 8)
					what := fmt.Sprintf("%s of %d bytes with bit %d of byte %d flipped", file, len(data), bit%8, bit/8)
					refused := f.verify(t, f.with(file, b), 0, what)
					require.True(t, refused || file == last, "%s: not noticed in a file that was complete", what)
				}
			})
		}
	}
}

func TestMissingFile(t *testing.T) {
	for name, f := range folders(t) {
		t.Run(name, func(t *testing.T) {
			last := f.last()
			for file := range f.files {
				refused := f.verify(t, f.with(file, nil), 0, file+" removed")
				require.True(t, refused || file == last)
			}
		})
	}
}

// A file with a name like one of ours, and nothing of ours in it, costs nothing that is there: no number makes a repair
// give up the logs for it, or a check count up to it.
func TestStrayFile(t *testing.T) {
	for name, f := range folders(t) {
		t.Run(name, func(t *testing.T) {
			for _, kind := range []string{"log", "snapshot"} {
				for _, seq := range []uint64{0, 1, 2, 3, 40, 1 << 20, 1<<64 - 1} {
					for _, data := range [][]byte{{}, bytes.Repeat([]byte("stray"), 50)} {
						file := fmt.Sprintf("/data/%s-%016x", kind, seq)
						if f.files[file] != nil {
							continue // it takes no other's place
						}
						what := fmt.Sprintf("%s of %d bytes", file, len(data))
						m := f.with(file, data)
						if kind == "log" && seq > 1000 {
							for _, use := range []func(vfs.FS, string) (tool.Report, error){tool.Check, tool.Repair} {
								_, err := use(m, "/data")
								require.ErrorContains(t, err, filepath.Base(file)+" is no file of this store", what)
							}
							_, _, err := recovered(m, f.o)
							require.ErrorContains(t, err, filepath.Base(file)+" is no file of this store", what)
							continue
						}
						f.verify(t, m, f.newest(), what)
						state, _, err := recovered(m, f.o)
						require.NoError(t, err, what)
						f.check(t, state, f.newest(), what)
					}
				}
			}
		})
	}
}

// Where a newest snapshot is damaged and the files before it are still there, as a crash between its rename and their
// removal leaves them, a repair goes back to those.
func TestRepairGoesBack(t *testing.T) {
	o := wal.Options{Sync: wal.Always, SnapshotBytes: -1}
	f := &made{ledger: newLedger(8), o: o}
	mem := vfstest.NewMem()
	n := mustStart(t, mem, o, store.Options{})
	rng := rand.New(rand.NewPCG(1, 2))
	require.NoError(t, f.work(n.st, 0, 20, rng))
	require.Eventually(t, func() bool { return n.log.Stats().Queued == 0 }, time.Minute, time.Millisecond)
	before := mem.Snapshot()
	_, _, err := n.log.Snapshot(context.Background())
	require.NoError(t, err)
	require.NoError(t, f.work(n.st, 1, 20, rng))
	require.NoError(t, n.stop())
	f.files = mem.Snapshot()
	delete(f.files, "/data/LOCK")

	const snapshot, first = "/data/snapshot-0000000000000002", "/data/log-0000000000000001"
	whole := f.files[snapshot]
	require.NotNil(t, whole)
	require.Nil(t, f.files[first])
	flip := func(at int) []byte {
		b := slices.Clone(whole)
		b[at] ^= 1
		return b
	}
	for what, data := range map[string][]byte{"empty": {}, "header": flip(20), "block": flip(60), "trailer": flip(len(whole) - 1), "cut": whole[:len(whole)-1]} {
		m := f.with(snapshot, data)
		m.WriteFile(first, before[first])
		report, err := tool.Repair(m, "/data")
		require.NoError(t, err, what)
		require.True(t, report.Damaged(), what)
		kept := report.Problems[0].Kept
		require.Equal(t, data, m.Snapshot()[filepath.Join("/data", kept)], "%s: %s", what, kept)
		require.Nil(t, m.Snapshot()[snapshot], what)
		state, _, err := recovered(m, o)
		require.NoError(t, err, what)
		require.Equal(t, f.at(f.newest()), state, what)
	}

	// But not where more can be read of the snapshot than of what was before.
	m := f.with(snapshot, whole[:len(whole)-1])
	m.WriteFile("/data/snapshot-0000000000000001", nil)
	_, err = tool.Repair(m, "/data")
	require.NoError(t, err)
	state, _, err := recovered(m, o)
	require.NoError(t, err)
	require.Equal(t, f.at(f.newest()), state)
}

// Check writes nothing: not to a folder that is sound, nor to one that is damaged; not even the lock that a copy came without.
func TestCheckWritesNothing(t *testing.T) {
	f := makeFolder(t, 8, wal.Options{RotateBytes: 1000, ReserveBytes: 1000}, true, 25)
	bad := slices.Clone(f.files["/data/log-0000000000000001"])
	bad[50] ^= 1
	for _, locked := range []bool{false, true} {
		for what, data := range map[string][]byte{"sound": f.files["/data/log-0000000000000001"], "damaged": bad} {
			m := f.with("/data/log-0000000000000001", data)
			if locked {
				m.WriteFile("/data/LOCK", nil)
			}
			before := m.Snapshot()
			inject := &vfstest.Inject{FS: m}
			report, err := tool.Check(inject, "/data")
			require.NoError(t, err)
			require.Equal(t, what == "damaged", report.Damaged())
			require.Zero(t, inject.Calls())
			require.Equal(t, before, m.Snapshot())
		}
	}
}

// A disk may write a later page before an earlier one. Then whole records follow a bad one; but if the log says that
// everything up to there was synced, the bad one is no torn tail.
func TestTornOrDamaged(t *testing.T) {
	o := wal.Options{Sync: wal.Always, SnapshotBytes: -1}
	f := makeFolder(t, 8, o, true, 30) // a sync for nearly every record
	name := "/data/log-0000000000000001"
	data := slices.Clone(f.files[name])
	data[40] ^= 1 // in the first record
	require.True(t, f.verify(t, f.with(name, data), 0, "first record"))

	o.Sync = wal.Never // nothing is synced before the close
	f = makeFolder(t, 8, o, false, 30)
	name = f.last()
	data = bytes.TrimRight(slices.Clone(f.files[name]), "\x00")
	require.Greater(t, len(data), 500)
	data[len(data)/2] ^= 1
	m := f.with(name, data)
	require.False(t, f.verify(t, m, 0, "a record in the middle"))
	names, err := m.List("/data")
	require.NoError(t, err)
	require.NotContains(t, strings.Join(names, " "), "torn", "looking changes nothing")
	_, _, err = recovered(m, o)
	require.NoError(t, err)
	names, err = m.List("/data")
	require.NoError(t, err)
	i := slices.IndexFunc(names, func(n string) bool { return strings.Contains(n, ".torn-") })
	require.GreaterOrEqual(t, i, 0, "%v", names)
	saved := m.Snapshot()[filepath.Join("/data", names[i])]
	require.True(t, strings.HasSuffix(string(data), string(saved)), "what was cut off is kept")
}

func TestFolderRefused(t *testing.T) {
	open := func(m *vfstest.Mem) error {
		_, _, err := recovered(m, wal.Options{})
		return err
	}
	t.Run("in use", func(t *testing.T) {
		m := vfstest.NewMem()
		n := mustStart(t, m, wal.Options{}, store.Options{})
		require.ErrorContains(t, open(m), "in use by another process")
		_, err := tool.Check(m, "/data")
		require.ErrorContains(t, err, "in use by another process")
		require.NoError(t, n.stop())
		require.NoError(t, open(m))
	})
	t.Run("not a data folder", func(t *testing.T) {
		b := makeBackup(t)
		for what, use := range map[string]func(m *vfstest.Mem) error{
			"open":    open,
			"check":   func(m *vfstest.Mem) error { _, err := tool.Check(m, "/data"); return err },
			"repair":  func(m *vfstest.Mem) error { _, err := tool.Repair(m, "/data"); return err },
			"restore": func(m *vfstest.Mem) error { _, err := tool.RestoreFrom(m, bytes.NewReader(b), "/data"); return err },
		} {
			m := vfstest.NewMem()
			m.WriteFile("/data/thesis.txt", []byte("do not touch"))
			require.ErrorContains(t, use(m), "it holds thesis.txt", what)
			names, err := m.List("/data")
			require.NoError(t, err)
			require.Equal(t, []string{"thesis.txt"}, names, "%s leaves nothing behind", what)
		}
	})
	t.Run("a newer format", func(t *testing.T) {
		f := makeFolder(t, 8, wal.Options{}, true, 3)
		data := slices.Clone(f.files[f.last()])
		data[7]++
		binary.BigEndian.PutUint32(data[32:], crc32.Checksum(data[:32], crc32.MakeTable(crc32.Castagnoli)))
		require.ErrorContains(t, open(f.with(f.last(), data)), "written by a newer version of kvd")
		_, err := tool.Repair(f.with(f.last(), data), "/data")
		require.ErrorContains(t, err, "written by a newer version of kvd", "and it is not for repair")
	})
	t.Run("a file of another store", func(t *testing.T) {
		o := wal.Options{RotateBytes: 200}
		a, b := makeFolder(t, 8, o, true, 20), makeFolder(t, 8, o, true, 20)
		name := "/data/log-0000000000000002"
		require.ErrorContains(t, open(a.with(name, b.files[name])), "belongs to another store")
	})
	t.Run("missing, for check", func(t *testing.T) {
		_, err := tool.Check(vfstest.NewMem(), "/data")
		require.True(t, errors.Is(err, fs.ErrNotExist), "%v", err)
	})
}

// Room that was reserved is no torn tail, and is given back when the log is ended.
func TestReservedRoom(t *testing.T) {
	o := wal.Options{Sync: wal.Always, SnapshotBytes: -1, ReserveBytes: 10_000}
	f := makeFolder(t, 8, o, true, 30)
	closed := len(f.files["/data/log-0000000000000001"])
	require.Greater(t, closed, 1000)
	require.Less(t, closed, 10_000, "given back")

	f = makeFolder(t, 8, o, false, 30)
	data := f.files[f.last()]
	require.Greater(t, len(data), 10_000)
	m := f.with(f.last(), data)
	report, err := tool.Check(m, "/data")
	require.NoError(t, err)
	require.Empty(t, report.Problems)
	n := mustStart(t, m, o, store.Options{})
	require.Zero(t, n.log.Stats().TornBytes)
	require.Len(t, m.Snapshot()[f.last()], len(bytes.TrimRight(data, "\x00")), "given back by the next start")
	n.set(t, "k", "v")
	require.NoError(t, n.stop())
	names, err := m.List("/data")
	require.NoError(t, err)
	require.NotContains(t, strings.Join(names, " "), "torn")
	report, err = tool.Check(m, "/data")
	require.NoError(t, err)
	require.Empty(t, report.Problems, "nor when another log follows")

	// Half a record in it is one; only what was written is saved.
	torn := slices.Clone(data)
	end := len(bytes.TrimRight(torn, "\x00"))
	clear(torn[end-20:])
	m = f.with(f.last(), torn)
	require.False(t, f.verify(t, m, 0, "a record cut off, then zeros"))
	n = mustStart(t, m, o, store.Options{})
	require.Positive(t, n.log.Stats().TornBytes)
	require.Less(t, n.log.Stats().TornBytes, int64(300))
	require.NoError(t, n.stop())
}
