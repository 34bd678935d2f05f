package store

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestStamp holds stamps against what was done to their keys: of a key that was written, deleted or expired since there
// is another, whatever it holds now, and of one to which nothing was done, beside which nothing was deleted, it is the
// same.
func TestStamp(t *testing.T) {
	for _, m := range masks {
		t.Run(m.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { runStamps(t, m.mask) })
		})
	}
}

func runStamps(t *rapid.T, mask uint64) {
	s := openTest(t, Options{History: rapid.SampledFrom([]int{0, 2}).Draw(t, "history")}, mask)
	defer s.Store.Close()
	const keys = 6
	type stamped struct {
		stamp Stamp
		done  int // what was done to the key before
		all   int // what was deleted before, of any key
	}
	var done [keys]int
	var deleted int
	var stamps [keys][]stamped
	name := func(i int) []byte { return fmt.Append(nil, "key", i) }
	exists := func(i int) bool { return s.Get(name(i)) != nil }
	for range rapid.IntRange(1, 80).Draw(t, "steps") {
		i := rapid.IntRange(0, keys-1).Draw(t, "key")
		key := name(i)
		switch rapid.IntRange(0, 7).Draw(t, "what") {
		case 0, 1:
			_, err := s.Set(key, []byte("v"), SetOptions{})
			require.NoError(t, err)
			done[i]++
		case 2:
			_, err := s.Set(key, []byte("v"), SetOptions{TTL: uint64(rapid.IntRange(1, 30).Draw(t, "ttl"))})
			require.NoError(t, err)
			done[i]++
		case 3:
			was := exists(i)
			_, _, err := s.Del([][]byte{key})
			require.NoError(t, err)
			if was {
				done[i]++
				deleted++
			}
		case 4:
			var were [keys]bool
			for k := range keys {
				were[k] = exists(k)
			}
			s.clock.pass(int64(rapid.IntRange(1, 20).Draw(t, "passes")))
			for k := range keys {
				if were[k] && !exists(k) {
					done[k]++
				}
			}
			deleted++ // what has expired is removed by whoever comes along
		case 5:
			s.sweep()
			deleted++
		default:
			one := s.Session.Stamp(key)
			var other Stamp
			_, err := s.Update([][]byte{key}, func(u *Update) error {
				other = u.Stamp(key)
				return nil
			})
			require.NoError(t, err)
			require.Equal(t, one, other)
			for _, before := range stamps[i] {
				switch {
				case before.done != done[i]:
					require.False(t, before.stamp.Same(one), "it was written")
				case before.all == deleted:
					require.True(t, before.stamp.Same(one), "nothing was done")
				}
			}
			stamps[i] = append(stamps[i], stamped{one, done[i], deleted})
		}
	}
}

// A key that is set and deleted by proposals that are under way was written.
func TestStampOfWhatIsUnderWay(t *testing.T) {
	s, r := openReplica(t, Options{}, fullHash)
	r.auto = false
	key := []byte("k")
	before := s.Session.Stamp(key)
	look := func() (now Stamp) {
		_, err := s.Update([][]byte{key}, func(u *Update) error {
			now = u.Stamp(key)
			return nil
		})
		require.NoError(t, err)
		return now
	}
	require.Equal(t, before, look())
	s.put(t, "k", "1")
	_, _, err := s.Del([][]byte{key})
	require.NoError(t, err)
	under := look()
	require.False(t, before.Same(under))
	for r.commit() {
	}
	require.False(t, before.Same(look()))
	require.Equal(t, under, look())
	require.Equal(t, under, s.Session.Stamp(key))
}

// TestAStampSeldomDiffersForOthers: only deletions of keys that are beside an absent one in the table, some 6 of all,
// and of such as are in its slot, one of 4096 keys, look like its own.
func TestAStampSeldomDiffersForOthers(t *testing.T) {
	const absent = 200
	for _, test := range []struct {
		keys, deletions, rounds int     // deletions of others a round, between stamps
		most                    float64 // of the stamps differ, four times as many as should
	}{
		{keys: 10_000, deletions: 100, rounds: 20, most: 0.01}, // 100 in 107 000, and 6 % of 2.4 %
		{keys: 1, deletions: 1, rounds: 200, most: 4. / 4096},
	} {
		t.Run(fmt.Sprint(test.keys), func(t *testing.T) {
			st, err := Open(Options{})
			require.NoError(t, err)
			defer st.Close()
			c := st.Session()
			defer c.Close()
			for i := range test.keys {
				_, err := c.Set(fmt.Append(nil, i), nil, SetOptions{})
				require.NoError(t, err)
			}
			differ := 0
			var before [absent]Stamp
			for round := range test.rounds {
				for i := range before {
					before[i] = c.Stamp(fmt.Append(nil, "absent", i))
				}
				for i := range test.deletions {
					key := fmt.Append(nil, round*test.deletions+i)
					_, err := c.Set(key, nil, SetOptions{})
					require.NoError(t, err)
					_, _, err = c.Del([][]byte{key})
					require.NoError(t, err)
				}
				for i := range before {
					if !before[i].Same(c.Stamp(fmt.Append(nil, "absent", i))) {
						differ++
					}
				}
			}
			share := float64(differ) / float64(test.rounds*absent)
			t.Logf("%.3f %% of the stamps of absent keys differ after %d deletions of others", 100*share, test.deletions)
			require.LessOrEqual(t, share, test.most)
		})
	}
}
