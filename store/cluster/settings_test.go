package cluster

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/store"
)

func TestWhatMembersHaveSaid(t *testing.T) {
	said := func(memory int64, history int, age time.Duration) Settings {
		return Settings{true, memory, history, age}
	}
	for _, x := range []struct {
		name    string
		members []Settings
		memory  int64
		same    bool
		differ  bool
	}{
		{"none", nil, 0, false, false},
		{"nobody has said it", []Settings{{}, {}}, 0, false, false},
		{"the same", []Settings{said(100, 3, 0), said(100, 3, 0)}, 100, true, false},
		{"one has not said it", []Settings{said(100, 3, 0), {}}, 100, false, false},
		{"machines of one kind", []Settings{said(95, 3, 0), said(100, 3, 0)}, 95, true, false},
		{"less memory", []Settings{said(100, 3, 0), said(50, 3, 0)}, 50, true, true},
		{"no limit", []Settings{said(0, 3, 0), said(50, 3, 0)}, 50, true, true},
		{"another history", []Settings{said(0, 3, 0), said(0, 4, 0)}, 0, false, true},
		{"another age", []Settings{said(0, 3, time.Hour), said(0, 3, time.Second)}, 0, false, true},
	} {
		all := Members{}
		for i, s := range x.members {
			all[uint64(i+1)] = Member{ID: uint64(i + 1), Formats: built, Settings: s}
		}
		memory, _ := all.memory()
		require.Equal(t, x.memory, memory, x.name)
		_, agree := all.history()
		require.Equal(t, []bool{x.same, x.differ}, []bool{agree && all.said(), all.differ()}, x.name)
		again, err := DecodeMembers(all.Encode())
		require.NoError(t, err)
		require.Equal(t, all, again, x.name)
		for _, m := range all.as(formatSettings - 1) {
			require.Zero(t, m.Settings)
		}
	}
	cut := Members{1: {ID: 1, Settings: said(1, 2, 3)}}.Encode()
	for i := 1; i < len(cut); i++ {
		_, err := DecodeMembers(cut[:i])
		require.Error(t, err)
	}
}

func TestMembersThatShareAnAddressForClients(t *testing.T) {
	at := func(id uint64, client string, replaces uint64) Member {
		return Member{ID: id, Client: client, Peer: fmt.Sprintf("n%d:7071", id), Replaces: replaces}
	}
	for name, x := range map[string]struct {
		members []Member
		want    string
	}{
		"none":               {nil, ""},
		"each its own":       {[]Member{at(1, "a:1", 0), at(2, "b:1", 0), at(3, "a:2", 0)}, ""},
		"not known yet":      {[]Member{at(1, "", 0), at(2, "", 0)}, ""},
		"two":                {[]Member{at(1, "a:1", 0), at(2, "b:1", 0), at(3, "a:1", 0)}, "a:1 at n1:7071, n3:7071"},
		"two and two":        {[]Member{at(1, "b:1", 0), at(2, "b:1", 0), at(3, "a:1", 0), at(4, "a:1", 0)}, "a:1 at n3:7071, n4:7071; b:1 at n1:7071, n2:7071"},
		"a new disk":         {[]Member{at(1, "a:1", 0), at(2, "a:1", 1)}, ""},
		"a new disk and two": {[]Member{at(1, "a:1", 0), at(2, "a:1", 1), at(3, "a:1", 0)}, "a:1 at n2:7071, n3:7071"},
	} {
		all := Members{}
		for _, m := range x.members {
			all[m.ID] = m
		}
		require.Equal(t, x.want, all.sharedClients(), name)
	}
}

// writeAt writes at whoever leads.
func writeAt(t *testing.T, all []*kvd, key, value string) {
	require.Eventually(t, func() bool {
		for _, k := range all {
			if n := k.replica.node.Load(); n == nil || !n.Status().Leads {
				continue
			}
			c := k.store.Session()
			_, err := c.Set([]byte(key), []byte(value), store.SetOptions{})
			if err == nil {
				err = c.Flush()
			}
			c.Close()
			return err == nil
		}
		return false
	}, 60*time.Second, 5*time.Millisecond)
}

// versions are those of a key that a node shows, the newest first.
func (k *kvd) versions(key string) (all []uint64) {
	c := k.store.Session()
	defer c.Close()
	for _, r := range c.History(nil, []byte(key), 0) {
		all = append(all, r.Time)
	}
	return all
}

// keep waits until all nodes keep so many earlier versions, and show the same ones.
func keep(t *testing.T, all []*kvd, depth int, keys ...string) {
	defer func() {
		for _, k := range all {
			if t.Failed() {
				v, _ := k.replica.View()
				t.Logf("%s keeps %d, and of %v %v: %+v %+v",
					k.address, k.store.HistoryDepth(), keys, k.versions(keys[0]), k.replica.historyNow(), v)
			}
		}
	}()
	require.Eventually(t, func() bool {
		for _, k := range all {
			if k.store.HistoryDepth() != depth {
				return false
			}
			for _, key := range keys {
				if v := k.versions(key); len(v) != depth+1 || !slices.Equal(v, all[0].versions(key)) {
					return false
				}
			}
		}
		return true
	}, 60*time.Second, 10*time.Millisecond)
}

// Nodes that were started with different settings keep the same: a change of --history is one, for all of them, once
// the last was started with it; whoever joins or restarts meanwhile keeps what the others do.
func TestHowMuchIsKeptChangesWhenAllSayIt(t *testing.T) {
	said := Settings{true, 0, 3, time.Hour + 1} // an age that is no multiple of a microsecond
	all := []*kvd{{reads: built, said: said}, {reads: built, said: said}, {reads: built, said: said}}
	peers := openAll(t, all)
	restart := func(k *kvd, history int) error {
		k.said.History = history
		return k.restart(peers, built)
	}
	fill := func(keys ...string) {
		for i := range 8 {
			for _, key := range keys {
				writeAt(t, all, key, fmt.Sprint(i))
			}
		}
	}
	fill("a", "b")
	keep(t, all, 3, "a", "b")
	for _, k := range all[:2] {
		require.NoError(t, restart(k, 5))
		fill("a")
		keep(t, all, 3, "a", "b")
		require.Eventually(t, func() bool { v, ok := k.replica.View(); return ok && v.Differ() }, 60*time.Second,
			10*time.Millisecond)
	}
	require.NoError(t, restart(all[2], 5))
	keep(t, all, 5)
	fill("a")
	keep(t, all, 5, "a")

	require.NoError(t, all[0].replica.SaveSnapshot()) // one begins with a snapshot that says it, and the others with their logs
	for i, k := range all {
		require.NoError(t, restart(k, 2))
		if i < 2 {
			fill("a")
			keep(t, all, 5, "a")
		}
	}
	keep(t, all, 2, "a", "b")
	for _, k := range all {
		require.NoError(t, k.store.Check())
		require.Eventually(t, func() bool { v, ok := k.replica.View(); return ok && !v.Differ() }, 60*time.Second,
			10*time.Millisecond)
	}

	join := func(said Settings) *kvd {
		k := &kvd{t: t, fs: newFS(t), reads: built, said: said}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		k.address = l.Addr().String()
		t.Cleanup(k.stop)
		require.NoError(t, k.open(l, peers))
		return k
	}
	refused := func(said Settings) string {
		k := join(said)
		<-k.replica.Done()
		return k.replica.Err().Error()
	}
	none := Settings{Said: true}
	require.Contains(t, refused(none), "this node can't join: the cluster keeps earlier versions of keys, and this node was started without --history: start it with --history 2")
	require.Contains(t, refused(Settings{true, 1, 2, 0}),
		"this node has room for 0 MiB of data: start it with a higher --max-memory")
	require.ErrorContains(t, restart(all[1], 0),
		"data folder /log: the cluster keeps earlier versions of keys, and this node was started without --history")
	require.NoError(t, restart(all[1], 2))

	more := join(Settings{true, 0, 9, 0})
	keep(t, append(all, more), 2, "a", "b")
	fill("a")
	keep(t, append(all, more), 2, "a", "b")
}

// The least memory of all members is what data may take.
func TestTheLeastMemoryCounts(t *testing.T) {
	all := []*kvd{{reads: built, said: Settings{Said: true, Memory: 64 << 20}},
		{reads: built, said: Settings{Said: true, Memory: 8 << 20}}, {reads: built, said: Settings{Said: true}}}
	peers := openAll(t, all)
	agrees(t, all, built.Newest)
	fill := func() (err error) {
		for _, k := range all {
			if n := k.replica.node.Load(); n == nil || !n.Status().Leads {
				continue
			}
			c := k.store.Session()
			defer c.Close()
			for i := 0; i < 200 && err == nil; i++ {
				_, err = c.Set(fmt.Append(nil, i), make([]byte, 100_000), store.SetOptions{})
			}
			c.Flush()
			return err
		}
		return fmt.Errorf("nobody leads")
	}
	require.Eventually(t, func() bool { err := fill(); return err == store.ErrOutOfMemory }, 60*time.Second, 50*time.Millisecond)
	all[1].said.Memory = 64 << 20
	require.NoError(t, all[1].restart(peers, built))
	require.Eventually(t, func() bool { return fill() == nil }, 60*time.Second, 50*time.Millisecond)
}

// Members of a cluster that was founded in the format that has no settings say them once all read the one that has.
func TestSettingsAreSaidOnceTheFormatHasThem(t *testing.T) {
	said := Settings{true, 1 << 30, 3, 0}
	old := Formats{1, formatSettings - 1}
	all := []*kvd{{reads: old, said: said}, {reads: old, said: said}, {reads: old, said: said}}
	peers := openAll(t, all)
	agrees(t, all, formatSettings-1)
	writeAt(t, all, "a", "1")
	for _, k := range all {
		v, _ := k.replica.View()
		for _, m := range v.Members {
			require.Zero(t, m.Settings)
		}
		require.NoError(t, k.restart(peers, built))
	}
	agrees(t, all, formatSettings)
	require.Eventually(t, func() bool {
		for _, k := range all {
			v, _ := k.replica.View()
			for _, m := range v.Members {
				if m.Settings != said {
					return false
				}
			}
		}
		return true
	}, 60*time.Second, 10*time.Millisecond)
	for range 6 {
		writeAt(t, all, "a", "2")
	}
	keep(t, all, 3, "a")
}

// Founders that are to keep different histories found no cluster.
func TestFoundersKeepTheSame(t *testing.T) {
	var said []string
	tell := func(level slog.Level, what string, args ...any) {
		said = append(said, fmt.Sprint(level, " ", what, args))
	}
	with := func(peer string, history int, age time.Duration, formats Formats) Member {
		return Member{Peer: peer, Formats: formats, Settings: Settings{true, 0, history, age}}
	}
	require.True(t, agreed(Members{1: with("a", 3, 0, built), 2: with("b", 3, 0, built)}, tell))
	require.True(t, agreed(Members{1: with("a", 3, 0, built), 2: with("b", 4, 0, Formats{1, 1})}, tell), "one can't know")
	require.Empty(t, said)
	for range 2 { // always the same line, so that it is said once
		require.False(t, agreed(Members{1: with("a", 3, 0, built), 2: with("b", 4, 0, built), 3: with("c", 3, 0, built)}, tell))
		require.False(t, agreed(Members{1: with("a", 3, time.Hour, built), 2: with("b", 3, 0, built)}, tell))
	}
	require.Equal(t, []string{
		"WARN no cluster is founded: the peers were started with different --history or --history-age; restart those that are wrong, so that all have the same[they_have --history 3 at a, c; --history 4 at b]",
		"WARN no cluster is founded: the peers were started with different --history or --history-age; restart those that are wrong, so that all have the same[they_have --history 3 at b; --history 3 --history-age 1h0m0s at a]",
	}, said[:2])
	require.Equal(t, said[:2], said[2:])
}
