package cluster

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"kv/store"
	"kv/store/vfs/vfstest"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
)

func TestWhichFormatsARangeHas(t *testing.T) {
	for _, x := range []struct {
		reads  Formats
		format uint16
		says   string
	}{
		{Formats{}, 1, ""},
		{Formats{}, 2, "the cluster's format is 2, and a kvd that reads 1 to 1 can't be of it: a newer kvd is needed"},
		{Formats{1, 2}, 1, ""},
		{Formats{1, 2}, 2, ""},
		{Formats{1, 2}, 3, "the cluster's format is 3, and a kvd that reads 1 to 2 can't be of it: a newer kvd is needed"},
		{Formats{2, 3}, 1, "the cluster's format is 1, and a kvd that reads 2 to 3 can't be of it: bring all nodes up to date first, with a kvd that reads both"},
	} {
		if err := x.reads.check(x.format); x.says == "" {
			require.NoError(t, err)
		} else {
			require.EqualError(t, err, x.says)
		}
	}
	require.EqualValues(t, 1, Members{1: {Formats: Formats{1, 3}}, 2: {}}.newest())
	require.EqualValues(t, 2, Members{1: {Formats: Formats{1, 3}}, 2: {Formats: Formats{2, 2}}}.newest())
	require.Zero(t, Members{}.newest())
}

// kvd is a program with a replica and its store, on a disk of its own.
type kvd struct {
	t       *testing.T
	fs      *vfstest.Mem
	address string
	reads   Formats
	said    Settings
	log     slog.Handler // nil: none

	replica *Replica
	store   *store.Store
}

func (k *kvd) open(l net.Listener, peers []string) error {
	r, err := OpenReplica(ReplicaOptions{
		FS: k.fs, Dir: "/log", Listen: l, Client: "client of " + k.address, Peer: k.address, Peers: peers,
		Formats: k.reads, Settings: k.said, Logger: slog.New(k.handler()),
	})
	if err != nil {
		return err
	}
	k.replica = r
	depth, age := r.History()
	k.store, err = store.Open(store.Options{Journal: r.Journal, Proposes: true, History: depth, HistoryAge: age,
		MaxMemory: k.said.Memory})
	require.NoError(k.t, err)
	r.Start(k.store)
	return nil
}

func (k *kvd) handler() slog.Handler {
	if k.log == nil {
		return slog.DiscardHandler
	}
	return k.log
}

func (k *kvd) stop() {
	if k.replica != nil {
		k.replica.Close()
		k.store.Close()
		k.replica = nil
	}
}

// restart is stop, and a start with a program that reads these formats.
func (k *kvd) restart(peers []string, reads Formats) error {
	k.stop()
	l, err := net.Listen("tcp", k.address)
	require.NoError(k.t, err)
	k.reads = reads
	return k.open(l, peers)
}

func newKvds(t *testing.T, reads ...Formats) (all []*kvd, peers []string) {
	for _, f := range reads {
		all = append(all, &kvd{reads: f})
	}
	return all, openAll(t, all)
}

// openAll opens founders.
func openAll(t *testing.T, all []*kvd) (peers []string) {
	var listeners []net.Listener
	for _, k := range all {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		k.t, k.fs, k.address = t, newFS(t), l.Addr().String()
		t.Cleanup(k.stop)
		peers, listeners = append(peers, k.address), append(listeners, l)
	}
	for i, k := range all {
		require.NoError(t, k.open(listeners[i], peers))
	}
	return peers
}

// agrees waits until all know that the cluster's format is this one, and that all members read so much.
func agrees(t *testing.T, all []*kvd, format uint16) {
	defer func() {
		if t.Failed() {
			for _, k := range all {
				v, ok := k.replica.View()
				t.Logf("%s reads %v: %v %+v", k.address, k.reads, ok, v)
			}
		}
	}()
	require.Eventually(t, func() bool {
		for _, k := range all {
			v, ok := k.replica.View()
			if is, _ := k.replica.Format(); !ok || v.Leader == 0 || is != format {
				return false
			}
			for _, m := range v.Members {
				for _, k := range all {
					if m.Peer == k.address && m.Formats != k.reads {
						return false
					}
				}
			}
		}
		return true
	}, 120*time.Second, 10*time.Millisecond)
}

// C13: the format rises when the last member reads a newer one, and not before; who does not read it is refused, in
// words, by the others and by himself.
func TestTheFormatRisesWhenAllMembersReadIt(t *testing.T) {
	old, both, newer := Formats{1, 1}, Formats{1, 2}, Formats{2, 2}
	all, peers := newKvds(t, old, old, old)
	agrees(t, all, 1)
	join := func(reads Formats) error {
		other := &kvd{t: t, fs: newFS(t)}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		other.address, other.reads = l.Addr().String(), reads
		defer other.stop()
		require.NoError(t, other.open(l, peers))
		<-other.replica.Done()
		return other.replica.Err()
	}
	for _, k := range all[:2] {
		require.NoError(t, k.restart(peers, both))
		agrees(t, all, 1)
	}
	require.ErrorContains(t, join(newer), "this node can't join: the cluster's format is 1, and a kvd that reads 2 to 2 can't be of it: bring all nodes up to date first")
	require.NoError(t, all[1].restart(peers, old), "until it has risen, one may go back")
	agrees(t, all, 1)
	require.NoError(t, all[1].restart(peers, both))
	agrees(t, all, 1)
	require.NoError(t, all[2].restart(peers, both))
	agrees(t, all, 2)
	require.ErrorContains(t, join(old), "this node can't join: the cluster's format is 2, and a kvd that reads 1 to 1 can't be of it: a newer kvd is needed")

	require.NoError(t, all[0].restart(peers, old))
	<-all[0].replica.Done()
	require.ErrorContains(t, all[0].replica.Err(), "a newer kvd is needed", "it finds that in its log")
	require.NoError(t, all[0].restart(peers, newer))
	<-all[0].replica.Done()
	require.ErrorContains(t, all[0].replica.Err(), "with a kvd that reads both", "its log begins in the old format")
	require.NoError(t, all[0].restart(peers, both))
	agrees(t, all, 2)
	require.NoError(t, all[0].replica.SaveSnapshot())
	require.NoError(t, all[0].restart(peers, newer))
	agrees(t, all, 2)
	require.ErrorContains(t, all[0].restart(peers, old), "data folder /log: the cluster's format is 2",
		"it finds that in its snapshot")
	require.NoError(t, all[0].restart(peers, both))
	agrees(t, all, 2)
}

// A format that entries bring is noticed before they are handed out, whatever is under way.
func TestAFormatIsForeseen(t *testing.T) {
	old, both := Formats{1, 1}, Formats{1, 2}
	entry := func(id uint64, reads Formats, what pb.ConfChangeType) *pb.Entry {
		change := &pb.ConfChangeV2{Changes: []*pb.ConfChangeSingle{{Type: what.Enum(), NodeId: new(id)}}}
		if what != pb.ConfChangeRemoveNode {
			change.Context = Member{ID: id, Formats: reads}.append(nil)
		}
		data, err := proto.Marshal(change)
		require.NoError(t, err)
		return &pb.Entry{Type: pb.EntryConfChangeV2.Enum(), Data: data}
	}
	moves := func(id uint64) *pb.Entry { return entry(id, both, pb.ConfChangeAddNode) }
	begin := func(own Formats) *Core {
		return &Core{id: 1, formats: own, format: 1,
			members: Members{1: {ID: 1, Formats: both}, 2: {ID: 2, Formats: old}, 3: {ID: 3, Formats: old}}}
	}
	c := begin(old) // its own member is what it was told before it went back
	require.NoError(t, c.foresee([]*pb.Entry{moves(2)}))
	require.ErrorAs(t, c.foresee([]*pb.Entry{moves(2), moves(3)}), new(*FormatError))
	c = begin(old)
	require.NoError(t, c.foresee([]*pb.Entry{moves(2)}))
	c.applying = make([]time.Duration, 1)
	require.ErrorAs(t, c.foresee([]*pb.Entry{moves(3)}), new(*FormatError), "the change before it is being applied")
	c = begin(old)
	require.ErrorAs(t, c.foresee([]*pb.Entry{moves(2), entry(3, Formats{}, pb.ConfChangeRemoveNode)}), new(*FormatError))
	c = begin(old)
	require.NoError(t, c.foresee([]*pb.Entry{entry(1, Formats{}, pb.ConfChangeRemoveNode), moves(2), moves(3)}),
		"it is no member any more")
	require.NoError(t, begin(both).foresee([]*pb.Entry{moves(2), moves(3)}))
}

// Peers that read nothing that all of them do found no cluster.
func TestFoundersNeedAFormat(t *testing.T) {
	found := func(reads ...Formats) Members {
		all := Members{}
		for i, f := range reads {
			all[uint64(i)] = Member{ID: uint64(i), Peer: fmt.Sprint("p", i), Formats: f}
		}
		return all
	}
	var said []string
	tell := func(level slog.Level, what string, args ...any) {
		said = append(said, fmt.Sprint(level, " ", what, args))
	}
	require.True(t, agreed(found(Formats{1, 1}, Formats{1, 2}), tell))
	require.Empty(t, said)
	require.False(t, agreed(found(Formats{1, 1}, Formats{2, 2}), tell))
	require.Equal(t, []string{"WARN no cluster is founded: the peers read no format that all of them do; bring them up to date[they_read formats 1 to 1 at p0; formats 2 to 2 at p1]"}, said)
}

// A stream is refused, in words, by who knows that the other side does not read what the cluster writes.
func TestAStreamIsRefusedForItsFormats(t *testing.T) {
	a := newEnd(t, 1, func(o *PeersOptions) { o.Formats = Formats{1, 2} })
	b := newEnd(t, 2, func(o *PeersOptions) { o.Formats = Formats{1, 1} })
	a.SetFormat(2)
	a.SetMembers(map[uint64]string{2: b.address})
	b.SetMembers(map[uint64]string{1: a.address})
	b.logged.wait(t, "the cluster's format is 2, and a kvd that reads 1 to 1 can't be of it")
}

// A peer from before there were formats is refused, in words that it can read.
func TestAPeerOfAnotherVersionIsRefused(t *testing.T) {
	a := newEnd(t, 1, nil)
	conn, err := net.Dial("tcp", a.address)
	require.NoError(t, err)
	defer conn.Close()
	const where = "127.0.0.1:7101"
	b := append([]byte(streamMagic), 0, 1, 0, 0, 0, 0)
	for _, x := range []uint64{a.o.Cluster, 2, 1} {
		b = binary.BigEndian.AppendUint64(b, x)
	}
	b = append(append(b, classRaft, 0, byte(len(where))), where...)
	_, err = conn.Write(b)
	require.NoError(t, err)
	said := make([]byte, 39)
	_, err = io.ReadFull(conn, said)
	require.NoError(t, err)
	require.Zero(t, said[36], "it is refused")
	why := make([]byte, binary.BigEndian.Uint16(said[37:]))
	_, err = io.ReadFull(conn, why)
	require.NoError(t, err)
	require.Contains(t, string(why), "node 2 speaks version 1 of the streams, and node 1 version 2")
}

// So is a folder from then.
func TestAFolderFromBeforeFormatsIsRefused(t *testing.T) {
	for name, magic := range map[string]string{folder.LogName(1): frame.MagicEarlyLog,
		folder.SnapshotName(9): frame.MagicEarlySnapshot} {
		k := &kvd{t: t, fs: newFS(t)}
		k.fs.WriteFile("/log/"+name, frame.Header{Magic: magic, ID: 1, Seq: 1}.Append(nil))
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.ErrorContains(t, k.open(l, []string{l.Addr().String()}),
			"data folder /log is that of a node of a cluster, written by a kvd from before 0.1.0, and can't be read")
		_, err = Look(k.fs, "/log")
		require.ErrorContains(t, err, "from before 0.1.0")
	}
}
