package store

import (
	"math/rand/v2"
	"slices"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// dump returns all that the model knows.
func (m *model) dump() map[string][]revision { return m.keys }

// dumpOf returns all that a walk shows, in the form of the model.
func dumpOf(t *rapid.T, s *Store) map[string][]revision {
	all := map[string][]revision{}
	require.NoError(t, s.Walk(func(e *Entry) error {
		key := string(e.Key())
		all[key] = append([]revision{revisionOf(e)}, all[key]...)
		return nil
	}))
	return all
}

// walked returns what a walk shows as records.
func walked(t *rapid.T, s *Store) (records []record) {
	require.NoError(t, s.Walk(func(e *Entry) error {
		records = append(records, record{e.version, []*Entry{e.Clone()}})
		return nil
	}))
	return records
}

// replayed returns a new store that is filled with records.
func replayed(t *rapid.T, records []record, keep int, mask uint64) *Store {
	j := newFakeJournal()
	j.records = records
	j.state = rapid.IntRange(0, len(records)).Draw(t, "state")
	return openTest(t, Options{Journal: j, History: keep}, mask).Store
}

// shuffled returns the records of one entry each, those of one key in order, but those of different keys in any; and of
// each key again from some record on, as after a snapshot that the log overlaps.
func shuffled(records []record, rng *rand.Rand) []record {
	byKey := map[string][]record{}
	var turns []string
	for _, r := range records {
		for _, e := range r.entries {
			key := string(e.Key())
			byKey[key] = append(byKey[key], record{r.version, []*Entry{e}})
			turns = append(turns, key)
		}
	}
	for key, all := range byKey {
		again := all[rng.IntN(len(all)):]
		byKey[key] = append(slices.Clip(all), again...)
		for range again {
			turns = append(turns, key)
		}
	}
	slices.Sort(turns)
	rng.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	var mixed []record
	for _, key := range turns {
		mixed = append(mixed, byKey[key][0])
		byKey[key] = byKey[key][1:]
	}
	return mixed
}
