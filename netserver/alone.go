package netserver

import (
	"kv/protocol"
)

// What a server that is in no cluster answers to what is asked of clusters: so a client need not know which kind it talks to.

func (c *conn) cluster(w *workspace, h protocol.Header, body []byte) error {
	if len(body) != 0 {
		return refusalf(protocol.StatusBadRequest, "CLUSTER has no body, this one has %d bytes", len(body))
	}
	w.out.Buf = protocol.ClusterResponse{}.AppendTo(w.out.Buf, h.ID)
	return nil
}

func (c *conn) member(_ *workspace, _ protocol.Header, body []byte) error {
	if _, err := protocol.ParseMember(body); err != nil {
		return err
	}
	return refusalf(protocol.StatusUnavailable, "this server is alone, in no cluster: it has no members to change")
}
