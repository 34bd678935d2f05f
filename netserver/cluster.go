package netserver

import (
	"context"
	"errors"

	"kv/protocol"
	"kv/store"
)

// Cluster is what the server asks of the cluster that it is in. It is called from many goroutines.
type Cluster interface {
	// Status says how the cluster is, as this server sees it. It waits for nothing.
	Status() protocol.ClusterResponse
	// Change begins a change of members, or of who leads, and returns once it is under way, or ctx has ended. An error
	// that is a *protocol.Error or a *store.MovedError is told as that, any other as UNAVAILABLE with its text.
	Change(ctx context.Context, change protocol.Member) error
}

// cluster answers for a server that is alone too: so a client need not know which kind it talks to.
func (c *conn) cluster(w *workspace, h protocol.Header, body []byte) error {
	if len(body) != 0 {
		return refusalf(protocol.StatusBadRequest, "CLUSTER has no body, this one has %d bytes", len(body))
	}
	w.out.Buf = c.server.Cluster().AppendTo(w.out.Buf, h.ID)
	return nil
}

// Cluster says how the cluster is that the server is in, as it sees it; the zero value: it is alone. It waits for nothing.
func (s *Server) Cluster() protocol.ClusterResponse {
	if s.config.Cluster == nil {
		return protocol.ClusterResponse{}
	}
	return s.config.Cluster.Status()
}

func (c *conn) member(w *workspace, h protocol.Header, body []byte) error {
	q, err := protocol.ParseMember(body)
	if err != nil {
		return err
	}
	cluster := c.server.config.Cluster
	if cluster == nil {
		return refusalf(protocol.StatusBadRequest, "this server is alone, in no cluster: it has no members to change")
	}
	err = cluster.Change(c.server.context, q)
	var refusal *protocol.Error
	var moved *store.MovedError
	switch {
	case errors.As(err, &refusal), errors.As(err, &moved):
		return err
	case err != nil:
		return refusalf(protocol.StatusUnavailable, "%v", err)
	}
	w.out.Buf = protocol.AppendHeader(w.out.Buf, h.Opcode, uint8(protocol.StatusOK), h.ID, 0)
	return nil
}
