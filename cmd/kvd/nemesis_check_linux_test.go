package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/store/linear"
)

// checkHistories looks for an order that explains each, and leaves those in dir for which there is none.
func checkHistories(t *testing.T, histories [][]porcupine.Operation, dir string) {
	for i, history := range histories {
		file := filepath.Join(dir, fmt.Sprintf("history-%d.json", i))
		text, err := json.Marshal(history)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, text, 0o600))
		switch err := linear.Check(history, 40*time.Second); {
		case errors.Is(err, linear.ErrUndecided):
			t.Logf("%s: %v", file, err)
		case err != nil:
			t.Errorf("%s: %v", file, err)
		default:
			require.NoError(t, os.Remove(file))
		}
	}
}

// quiet is called when nothing is broken any more. It waits until all nodes have all, and compares them, and what was
// acknowledged.
func (w *world) quiet(ledger *ledger, nodes int) {
	leader(w.t, w.all)
	var voters int
	require.Eventually(w.t, func() bool {
		s, err := leader(w.t, w.all).status()
		voters = 0
		for _, m := range s.Members {
			if m.Role == protocol.Voter && m.Reachable {
				voters++
			}
		}
		return err == nil && voters == len(s.Members) && voters >= nodes
	}, 2*time.Minute, 50*time.Millisecond, "%d voters", &voters)
	var differ error
	require.Eventually(w.t, func() bool {
		var first map[string]protocol.Value
		differ = nil
		for _, m := range w.all {
			if s, err := w.status(m); err != nil || !slices.ContainsFunc(s.Members, func(one protocol.ClusterMember) bool { return one.ID == s.Node }) {
				continue // it belongs to it no more
			}
			has := contents(w.t, m)
			if err := ledger.compare(has); err != nil {
				differ = errors.Join(differ, fmt.Errorf("%s: %w", m.listen, err))
			}
			if first == nil {
				first = has
			} else if err := same(first, has); err != nil {
				differ = errors.Join(differ, fmt.Errorf("%s: %w", m.listen, err))
			}
		}
		return differ == nil
	}, 20*time.Second, 500*time.Millisecond, "%v", lazy{&differ})
}

// lazy prints an error as it stands at the time of printing.
type lazy struct{ err *error }

func (l lazy) String() string { return fmt.Sprint(*l.err) }

// contents are all keys that a node has, as it is asked itself.
func contents(t *testing.T, m *member) map[string]protocol.Value {
	c, err := m.dial(20 * time.Second)
	require.NoError(t, err)
	defer c.Close()
	all := map[string]protocol.Value{}
	for q := (protocol.Scan{WithMeta: true, WithValues: true}); ; {
		page, err := c.Scan(t.Context(), q)
		require.NoError(t, err)
		for _, item := range page.Items {
			all[string(item.Key)] = protocol.Value{Found: true, Data: item.Value, Meta: item.Meta}
		}
		if q.Cursor = page.Cursor; len(q.Cursor) == 0 {
			return all
		}
	}
}

// same says how the contents of two nodes differ.
func same(a, b map[string]protocol.Value) error {
	for key, v := range a {
		if o, ok := b[key]; !ok || string(o.Data) != string(v.Data) || o.Meta != v.Meta {
			return fmt.Errorf("%s is %q %+v, and %q %+v at another node", key, o.Data, o.Meta, v.Data, v.Meta)
		}
	}
	for key := range b {
		if _, ok := a[key]; !ok {
			return fmt.Errorf("%s is there, and not at another node", key)
		}
	}
	return nil
}
