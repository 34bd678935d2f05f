package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"

	"kv/store/vfs/vfstest"
	"kv/store/wal/folder"
)

// promises is what a log has told others, and must have after a crash.
type promises struct {
	term, vote uint64
	entries    []string // all that is on disk for certain, from index 2 on
	base       uint64   // of the durable snapshot
}

// script is a random run of a log, against a model of what it promised.
type script struct {
	rng      *rand.Rand
	log      *FileLog
	promised promises
	all      []string // all that was given to it, from index 2 on
	terms    []uint64
	term     uint64
	commit   uint64
	settled  []string // what was committed, from index 2 on: it never changes
	failed   bool     // the last Save has
}

// settle says that all up to index is committed.
func (s *script) settle(index uint64) {
	s.commit = max(s.commit, index)
	s.settled = append(s.settled, s.all[len(s.settled):s.commit-1]...)
}

func (s *script) save(appends []*Append) error {
	err := s.log.Save(appends)
	s.failed = err != nil
	return err
}

func (s *script) next(index uint64) *pb.Entry {
	e := entry(index, s.term, strings.Repeat("x", s.rng.IntN(60)))
	if s.rng.IntN(50) == 0 {
		e.Data = []byte(strings.Repeat("y", 17000))
	}
	s.all = append(s.all[:index-2], fmt.Sprintf("%d/%d %s", index, s.term, e.GetData()))
	s.terms = append(s.terms[:index-2], s.term)
	if index-2 < uint64(len(s.promised.entries)) { // once it is replaced, it is promised no more
		s.promised.entries = s.promised.entries[:index-2]
	}
	return e
}

// step does something, and notes what was promised if there was no error.
func (s *script) step() error {
	last := uint64(len(s.all)) + 1
	if s.rng.IntN(6) == 0 {
		i := s.promised.base + uint64(s.rng.IntN(int(s.commit-s.promised.base)+1))
		term := uint64(1)
		if i >= 2 {
			term = s.terms[i-2]
		}
		s.log.Applied(i)
		s.log.Snapshotted(Base{Index: i, Term: term})
		s.promised.base = i
		return s.log.Compact(i-min(i, uint64(s.rng.IntN(10))), int64(s.rng.IntN(3))*1000, i-min(i, uint64(s.rng.IntN(30))))
	}
	if s.rng.IntN(20) == 0 { // a snapshot was received, and is durable
		i := last + 1 + uint64(s.rng.IntN(4))
		for uint64(len(s.all))+1 < i {
			s.all, s.terms = append(s.all, "in the snapshot"), append(s.terms, s.term)
		}
		s.settle(i)
		s.promised.base, s.promised.entries = i, slices.Clone(s.all)
		return s.save([]*Append{{Sync: true, Snapshot: &pb.Snapshot{Metadata: &pb.SnapshotMetadata{
			Index: new(i), Term: new(s.term), ConfState: &pb.ConfState{},
		}}}})
	}
	var appends []*Append
	sync := false
	var hs *pb.HardState
	for range 1 + s.rng.IntN(3) {
		a := &Append{Sync: s.rng.IntN(3) > 0}
		at := last + 1
		if s.rng.IntN(5) == 0 {
			s.term++
			if at = s.commit + 1 + uint64(s.rng.IntN(int(last-s.commit)+1)); at > last {
				at = last + 1
			}
			hs = hardState(s.term, uint64(s.rng.IntN(3)), s.commit)
			a.HardState = hs
			a.Sync = true
		}
		for range s.rng.IntN(4) {
			a.Entries = append(a.Entries, s.next(at))
			last = at
			at++
		}
		last = uint64(len(s.all)) + 1
		if a.HardState != nil && len(a.Entries) > 0 && s.rng.IntN(2) == 0 { // another leader has committed them already
			s.settle(last)
			hs = hardState(s.term, a.HardState.GetVote(), s.commit)
			a.HardState = hs
		}
		if a.HardState == nil && s.rng.IntN(2) == 0 {
			vote := uint64(0)
			if hs != nil {
				vote = hs.GetVote()
			} else {
				vote = s.promised.vote
			}
			s.settle(min(last, s.commit+uint64(s.rng.IntN(3))))
			hs = hardState(s.term, vote, s.commit)
			a.HardState = hs
		}
		sync = sync || a.Sync
		appends = append(appends, a)
	}
	if err := s.save(appends); err != nil {
		return err
	}
	if sync {
		s.promised.entries = slices.Clone(s.all)
		if hs != nil {
			s.promised.term, s.promised.vote = hs.GetTerm(), hs.GetVote()
		}
	}
	return nil
}

// check compares the log after a start with what it had promised.
func (s *script) check(t require.TestingT) {
	hs, _, err := s.log.InitialState()
	require.NoError(t, err)
	require.GreaterOrEqual(t, hs.GetTerm(), s.promised.term)
	if hs.GetTerm() == s.promised.term {
		require.Equal(t, s.promised.vote, hs.GetVote())
	}
	first, _ := s.log.FirstIndex()
	require.LessOrEqual(t, first, s.promised.base+1)
	got := show(t, s.log)
	for i, want := range s.promised.entries {
		if index := uint64(i) + 2; index >= first {
			require.Greater(t, uint64(len(got)), index-first, "entry %d is lost", index)
			require.Equal(t, want, got[index-first])
		}
	}
	last, _ := s.log.LastIndex()
	require.LessOrEqual(t, hs.GetCommit(), last)
	for index := first; index <= hs.GetCommit(); index++ {
		require.Equal(t, s.settled[index-2], got[index-first], "what it says is committed is another entry %d", index)
	}
	// Entries that were not promised may be there or not; from here on the model has those that are.
	s.all = append(s.all[:first-2:first-2], got...)
	s.terms = s.terms[:first-2]
	for i := range got {
		term, err := s.log.Term(first + uint64(i))
		require.NoError(t, err)
		s.terms = append(s.terms, term)
	}
	s.term, s.commit = max(s.term, hs.GetTerm()), max(hs.GetCommit(), s.promised.base)
	s.settled = s.settled[:s.commit-1] // what was committed beyond is not known here, and may be given again
	s.promised.term, s.promised.vote = hs.GetTerm(), hs.GetVote()
	s.promised.entries = slices.Clone(s.all)
}

var errCrash = errors.New("crash")

// TestLogCrash crashes a log at any call of the file system, or has one fail, again and again, and looks for what it
// had promised.
func TestLogCrash(t *testing.T) {
	seeds := uint64(300)
	if os.Getenv("KV_SOAK") != "" {
		seeds = 20000
	}
	for seed := range seeds {
		require.True(t, t.Run(fmt.Sprint(seed), func(t *testing.T) { crashLog(t, seed) }))
	}
}

func crashLog(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	fs := newFS(t)
	s := &script{rng: rng, term: 1, commit: 1, promised: promises{base: 1, term: 1}}
	options := func(fs *vfstest.Mem, inject *vfstest.Inject) LogOptions {
		o := smallLog(fs, s.promised.base)
		if i := s.promised.base; i >= 2 {
			o.Base.Term = s.terms[i-2]
		}
		o.FS = inject
		if seed%3 == 0 {
			o.Ahead = 2000
		}
		return o
	}
	var err error
	s.log, err = NewLog(options(fs, &vfstest.Inject{FS: fs}), Self{})
	require.NoError(t, err)
	require.NoError(t, s.log.Close())
	for range 12 {
		at := int64(1 + rng.IntN(60))
		failure := error(errCrash)
		if rng.IntN(3) == 0 {
			failure = syscall.EIO
		}
		calls := int64(0)
		inject := &vfstest.Inject{FS: fs, Before: func(n int64, op, name string) error {
			calls = n
			if n == at || failure == errCrash && n > at {
				if failure == syscall.EIO && op == "sync" {
					if _, err := fs.Open(name); err != nil {
						name = strings.TrimSuffix(name, folder.TmpSuffix) // the file has its own by now
					}
					fs.FailSync(name)
				}
				return failure
			}
			return nil
		}}
		l, err := OpenLog(options(fs, inject))
		if err == nil {
			s.log = l
			s.check(t)
			for i := 0; i < 60 && err == nil; i++ { // one that fails to make room in advance does no harm
				err = s.step()
			}
			after := calls
			if s.failed {
				s.failed = false
				require.Error(t, l.Save([]*Append{{HardState: hardState(99, 0, 1), Sync: true}}))
				require.Equal(t, after, calls, "C9: nothing is written after an error")
			}
			l.Close()
		}
		if err != nil {
			require.ErrorIs(t, err, failure)
		}
		var lost *LostError
		require.False(t, errors.As(err, &lost), "%v", err)
		fs = fs.Crash([]int{0, 50, 100}[rng.IntN(3)], rng)
	}
	l, err := OpenLog(options(fs, &vfstest.Inject{FS: fs}))
	require.NoError(t, err)
	s.log = l
	s.check(t)
	_, err = folder.Read(fs, "/log")
	require.NoError(t, err)
}
