package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"

	"kv/store"
	"kv/store/vfs"
	"kv/store/vfs/vfstest"
)

// snapshotBytes is a small store's snapshot.
func snapshotBytes(t *testing.T, base Base) []byte {
	st, err := store.Open(store.Options{History: 2})
	require.NoError(t, err)
	defer st.Close()
	c := st.Session()
	defer c.Close()
	for i := range 9 {
		_, err := c.Set(fmt.Append(nil, "key", i%4), fmt.Append(nil, i), store.SetOptions{})
		require.NoError(t, err)
	}
	var b bytes.Buffer
	require.NoError(t, writeSnapshot(&b, 77, snapshotMeta{base: base, depth: 2, age: time.Minute}, st,
		func() (uint64, uint64, error) { return base.Index + 3, 1 << 60, nil }))
	return b.Bytes()
}

func TestAStateIsReadWholeOrNotAtAll(t *testing.T) {
	base := Base{Index: 8, Term: 3, Conf: &pb.ConfState{Voters: []uint64{1, 2}}, Members: Members{1: at(1), 2: at(2)},
		Format: formatSettings}
	said := at(2)
	said.Settings = Settings{true, 1 << 40, 7, time.Second}
	base.Members[2] = said
	whole := snapshotBytes(t, base)
	read := func(b []byte, each func([]byte, uint64) error) (snapshotMeta, error) {
		fs := newFS(t)
		fs.WriteFile("/log/x", b)
		f, err := fs.Open("/log/x")
		require.NoError(t, err)
		return readSnapshot(f, 8, each)
	}
	n := 0
	m, err := read(whole, func(_ []byte, entries uint64) error { n += int(entries); return nil })
	require.NoError(t, err)
	require.Equal(t, 9, n)
	require.Equal(t, base.Members, m.base.Members)
	require.Equal(t, base.Conf.GetVoters(), m.base.Conf.GetVoters())
	require.Equal(t, []uint64{8, 3, 11, 1 << 60}, []uint64{m.base.Index, m.base.Term, m.whole, m.version})
	require.Equal(t, 2, m.depth)
	require.Equal(t, time.Minute, m.age)
	for i := range whole {
		_, err := read(whole[:i], justRead)
		require.Error(t, err, "cut at %d", i)
		flipped := bytes.Clone(whole)
		flipped[i] ^= 4
		_, err = read(flipped, justRead)
		require.Error(t, err, "flipped at %d", i)
	}
	_, err = read(append(bytes.Clone(whole), 0), justRead)
	require.Error(t, err)
}

// A snapshot that is written takes an older one's place at one instant, whatever call fails or is the last.
func TestASnapshotIsWrittenWholeOrTheOldOneIsThere(t *testing.T) {
	states := map[uint64][]byte{}
	for _, index := range []uint64{8, 12} {
		states[index] = snapshotBytes(t, Base{Index: index, Term: 3, Conf: &pb.ConfState{}})
	}
	keep := func(fs vfs.FS, index uint64) error {
		size, err := createSnapshot(fs, "/log", index,
			func(w io.Writer) error {
				_, err := w.Write(states[index])
				return err
			},
			func(f vfs.File) error {
				_, err := readSnapshot(f, index, justRead)
				return err
			})
		if err == nil {
			require.EqualValues(t, len(states[index]), size)
		}
		return err
	}
	for call := int64(1); ; call++ {
		for _, percent := range []int{0, 100} {
			fs := newFS(t)
			require.NoError(t, keep(fs, 8))
			inject := &vfstest.Inject{FS: fs, Before: func(n int64, _, _ string) error {
				if n >= call {
					return syscall.EIO
				}
				return nil
			}}
			err := keep(inject, 12)
			if err != nil {
				require.True(t, errors.Is(err, syscall.EIO))
			}
			after := fs.Crash(percent, nil)
			names, err2 := after.List("/log")
			require.NoError(t, err2)
			newest := uint64(0)
			for _, name := range names {
				var seq uint64
				if k, _ := fmt.Sscanf(name, "snapshot-%016x", &seq); k == 1 && len(name) == len("snapshot-0000000000000000") {
					newest = max(newest, seq)
				}
			}
			require.NotZero(t, newest)
			if err == nil {
				require.EqualValues(t, 12, newest)
			}
			f, err3 := after.Open(fmt.Sprintf("/log/snapshot-%016x", newest))
			require.NoError(t, err3)
			_, err3 = readSnapshot(f, newest, justRead)
			require.NoError(t, err3)
			if err == nil && percent == 100 {
				return
			}
		}
	}
}
