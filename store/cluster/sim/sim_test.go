package sim

import (
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// failedOnce are seeds that have found a fault, in the code or in the simulation, which has been mended.
var failedOnce = []uint64{5, 76, 3612, 4771, 27133, 31320, 44892, 89093}

// number is what a variable says, or what it is without.
func number(t *testing.T, name string, without uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return without
	}
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err, name)
	return n
}

// TestSeeds simulates many clusters. SIM_SEEDS is how many, SIM_FIRST the first, SIM_STEPS how many steps each has,
// SIM_NODES how many founders, 0: 3 or 5, by the seed.
func TestSeeds(t *testing.T) {
	first, n := number(t, "SIM_FIRST", 1), number(t, "SIM_SEEDS", 100)
	steps, nodes := int(number(t, "SIM_STEPS", 30000)), int(number(t, "SIM_NODES", 0))
	seeds := append([]uint64(nil), failedOnce...)
	for seed := first; seed < first+n; seed++ {
		seeds = append(seeds, seed)
	}
	var sum Result
	for _, seed := range seeds {
		r, err := Run(Options{Seed: seed, Steps: steps, Nodes: nodes})
		require.NoError(t, err)
		sum.Steps += r.Steps
		sum.Time += r.Time
		sum.Entries += r.Entries
		sum.Writes += r.Writes
		sum.Reads += r.Reads
		sum.Bounded += r.Bounded
		sum.Conflicts += r.Conflicts
		sum.Unknown += r.Unknown
		sum.Applied += r.Applied
		sum.NotApplied += r.NotApplied
		sum.Terms += r.Terms
		sum.Crashes += r.Crashes
		sum.Failures += r.Failures
		sum.Snapshots += r.Snapshots
		sum.Cuts += r.Cuts
		sum.Joined += r.Joined
		sum.Removed += r.Removed
		sum.Hints += r.Hints
		sum.Rivals += r.Rivals
		sum.Format = max(sum.Format, r.Format)
	}
	t.Logf("%d seeds: %+v", len(seeds), sum)
	require.NotZero(t, sum.Writes)
	require.NotZero(t, sum.Reads)
	require.NotZero(t, sum.Bounded)
	require.NotZero(t, sum.Conflicts)
	require.NotZero(t, sum.Unknown)
	require.NotZero(t, sum.Applied)
	require.NotZero(t, sum.NotApplied)
	require.NotZero(t, sum.Snapshots)
	require.NotZero(t, sum.Joined)
	require.NotZero(t, sum.Removed)
	require.NotZero(t, sum.Hints)
	require.NotZero(t, sum.Rivals)
	require.EqualValues(t, 2, sum.Format)
}

func TestASeedIsARun(t *testing.T) {
	first, err := Run(Options{Seed: 7, Steps: 3000})
	require.NoError(t, err)
	second, err := Run(Options{Seed: 7, Steps: 3000})
	require.NoError(t, err)
	require.Equal(t, first, second)
	other, err := Run(Options{Seed: 8, Steps: 3000})
	require.NoError(t, err)
	require.NotEqual(t, first.Sum, other.Sum)
}

// A session that looks at the version alone takes another leader's write for its own: the simulation sees that (C5).
func TestASessionThatIgnoresTheEpochIsCaught(t *testing.T) {
	for seed := uint64(1); seed < 100; seed++ {
		if _, err := Run(Options{Seed: seed, Steps: 30000, Mutants: Mutants{NoEpoch: true}}); err != nil {
			require.ErrorContains(t, err, "C5")
			return
		}
	}
	t.Fatal("nothing was seen")
}

// A leader that answers reads without having asked whether it still leads answers old ones beside its successor: the
// simulation sees that (C6).
func TestALeaderThatReadsWithoutARoundIsCaught(t *testing.T) {
	for seed := uint64(2); seed < 400; seed += 4 { // those with rivals
		if _, err := Run(Options{Seed: seed, Steps: 30000, Mutants: Mutants{NoRound: true}}); err != nil {
			require.ErrorContains(t, err, "C6")
			return
		}
	}
	t.Fatal("nothing was seen")
}
