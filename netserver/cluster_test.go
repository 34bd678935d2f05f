package netserver_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
	"kv/store"
)

// madeUpCluster answers as it is told.
type madeUpCluster struct {
	status protocol.ClusterResponse
	change func(protocol.Member) error
}

func (c *madeUpCluster) Status() protocol.ClusterResponse { return c.status }

func (c *madeUpCluster) Change(_ context.Context, m protocol.Member) error { return c.change(m) }

// TestCluster: the server passes on what its cluster says, and what is asked of it.
func TestCluster(t *testing.T) {
	status := protocol.ClusterResponse{Cluster: 7, Node: 2, Leader: 1, Term: 3, Committed: 9, Published: 8, Members: []protocol.ClusterMember{
		{ID: 1, Role: protocol.Voter, Reachable: true, Matched: 9, Client: "n1:7070", Peer: "n1:7071"},
		{ID: 2, Role: protocol.Learner, Client: "n2:7070", Peer: "n2:7071"},
	}}
	asked, answers := make(chan protocol.Member, 1), make(chan error, 1)
	made := &madeUpCluster{status, func(m protocol.Member) error { asked <- m; return <-answers }}
	s := nettest.Start(t, nettest.Options{Config: netserver.Config{Cluster: made}})
	c := s.Dial(t)
	got, err := protocol.ParseClusterResponse(c.Do(protocol.AppendHeader(nil, protocol.OpCluster, 0, 1, 0)).Body)
	require.NoError(t, err)
	require.Equal(t, status, got)

	change := protocol.Member{Change: protocol.MemberAdd, Peer: "n3:7071"}
	for _, test := range []struct {
		err  error
		want protocol.Status
		body string
	}{
		{nil, protocol.StatusOK, ""},
		{errors.New("another change is under way"), protocol.StatusUnavailable, "another change is under way"},
		{&protocol.Error{Status: protocol.StatusNotFound}, protocol.StatusNotFound, ""},
		{&store.MovedError{}, protocol.StatusUnavailable, "no node leads now: nothing was applied, try again"},
	} {
		answers <- test.err
		f := c.Do(change.AppendTo(nil, 1))
		require.Equal(t, test.want, f.Status(), "%v", test.err)
		require.Equal(t, test.body, string(f.Body))
		require.Equal(t, change, <-asked)
	}
}
