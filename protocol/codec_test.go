package protocol_test

import (
	"fmt"

	"kv/protocol"
)

// reencodeRequest parses a request and appends what was understood as a new frame, which has to be the same one.
func reencodeRequest(h protocol.Header, body []byte) ([]byte, error) {
	if h.Reserved != 0 || !h.Opcode.AllowsFlags(h.Flags) {
		return nil, fmt.Errorf("%w: reserved bits or unknown flags", protocol.ErrBadRequest)
	}
	switch h.Opcode {
	case protocol.OpGet:
		q, err := protocol.ParseGet(h.Flags, body)
		return q.AppendTo(nil, h.ID), err
	case protocol.OpSet:
		q, err := protocol.ParseSet(h.Flags, body)
		return q.AppendTo(nil, h.ID), err
	case protocol.OpDel, protocol.OpMGet:
		keys, err := protocol.ParseKeys(nil, body)
		return protocol.AppendKeys(nil, h.Opcode, h.Flags, h.ID, keys...), err
	case protocol.OpMSet:
		pairs, err := protocol.ParseMSet(nil, body)
		return protocol.AppendMSet(nil, h.ID, pairs...), err
	case protocol.OpTxn:
		q, err := protocol.ParseTxn(h.Flags, body)
		return q.AppendTo(nil, h.ID), err
	case protocol.OpHello:
		q, err := protocol.ParseHello(h.Flags, body)
		return q.AppendTo(nil, h.ID), err
	case protocol.OpScan:
		q, err := protocol.ParseScan(h.Flags, body)
		return q.AppendTo(nil, h.ID), err
	case protocol.OpHistory:
		q, err := protocol.ParseHistory(body)
		return q.AppendTo(nil, h.ID), err
	case protocol.OpRollback:
		q, err := protocol.ParseRollback(body)
		return q.AppendTo(nil, h.ID), err
	case protocol.OpPurge:
		q, err := protocol.ParsePurge(nil, h.Flags, body)
		return q.AppendTo(nil, h.ID), err
	case protocol.OpReads:
		q, err := protocol.ParseReads(body)
		return q.AppendTo(nil, h.ID), err
	case protocol.OpMember:
		q, err := protocol.ParseMember(body)
		return q.AppendTo(nil, h.ID), err
	case protocol.OpIncr:
		q, err := protocol.ParseIncr(h.Flags, body)
		return q.AppendTo(nil, h.ID), err
	case protocol.OpExpire:
		q, err := protocol.ParseExpire(h.Flags, body)
		return q.AppendTo(nil, h.ID), err
	case protocol.OpPersist:
		q, err := protocol.ParsePersist(h.Flags, body)
		return q.AppendTo(nil, h.ID), err
	case protocol.OpBackup:
		q, err := protocol.ParseBackup(body)
		return q.AppendTo(nil, h.ID), err
	case protocol.OpStats, protocol.OpSnapshot, protocol.OpCluster:
		if len(body) > 0 {
			return nil, fmt.Errorf("%w: a body where there is none", protocol.ErrBadRequest)
		}
	}
	return append(protocol.AppendHeader(nil, h.Opcode, h.Flags, h.ID, len(body)), body...), nil
}

// reencodeResponse does the same for the response to a request that had these flags.
func reencodeResponse(flags uint8, h protocol.Header, body []byte) ([]byte, error) {
	withMeta := flags&protocol.FlagWithMeta != 0
	withValues := flags&protocol.FlagWithValues != 0
	if err := protocol.ParseError(h.Opcode, h.Status(), body); err != nil {
		if e, ok := err.(*protocol.Error); ok {
			return protocol.AppendError(nil, h.Opcode, h.ID, e), nil
		}
		return nil, err
	}
	switch h.Opcode {
	case protocol.OpGet:
		v, err := protocol.ParseValue(withMeta, body)
		var b []byte
		if withMeta {
			b = protocol.AppendMeta(b, v.Meta)
		}
		return okFrame(h, append(b, v.Data...)), err
	case protocol.OpCluster:
		p, err := protocol.ParseClusterResponse(body)
		return p.AppendTo(nil, h.ID), err
	case protocol.OpIncr:
		p, err := protocol.ParseIncrResponse(body)
		return p.AppendTo(nil, h.ID), err
	case protocol.OpSet, protocol.OpMSet, protocol.OpRollback, protocol.OpExpire, protocol.OpPersist:
		v, err := protocol.ParseVersion(body)
		return protocol.AppendVersion(nil, h.Opcode, h.ID, v), err
	case protocol.OpDel:
		n, v, err := protocol.ParseDeleted(body)
		return protocol.AppendDeleted(nil, h.ID, n, v), err
	case protocol.OpMGet:
		values, err := protocol.ParseValues(nil, withMeta, body)
		return protocol.AppendValues(nil, h.ID, withMeta, values), err
	case protocol.OpTxn:
		p, err := protocol.ParseTxnResponse(withMeta, body)
		return p.AppendTo(nil, h.ID, withMeta), err
	case protocol.OpStats:
		stats, err := protocol.ParseStats(body)
		return protocol.AppendStats(nil, h.ID, stats), err
	case protocol.OpHello:
		p, err := protocol.ParseHelloResponse(body)
		return p.AppendTo(nil, h.ID), err
	case protocol.OpScan:
		p, err := protocol.ParseScanPage(withMeta, withValues, body)
		return p.AppendTo(nil, h.ID, withMeta, withValues), err
	case protocol.OpHistory:
		revisions, err := protocol.ParseHistoryResponse(body)
		return protocol.AppendHistory(nil, h.ID, revisions), err
	case protocol.OpPurge:
		p, err := protocol.ParsePurgeResponse(body)
		return p.AppendTo(nil, h.ID), err
	case protocol.OpSnapshot:
		p, err := protocol.ParseSnapshotResponse(body)
		return p.AppendTo(nil, h.ID), err
	case protocol.OpBackup:
		p, err := protocol.ParseBackupResponse(body)
		return p.AppendTo(nil, h.ID), err
	}
	return okFrame(h, body), nil
}

func okFrame(h protocol.Header, body []byte) []byte {
	return protocol.AppendResponse(nil, h.Opcode, protocol.StatusOK, h.ID, body)
}

// split takes a whole frame apart.
func split(frame []byte) (protocol.Header, []byte) {
	return protocol.ParseHeader(frame), frame[protocol.HeaderSize:]
}
