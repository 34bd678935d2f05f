package protocol_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"kv/protocol"
)

// Draws of what bodies are made of. An empty slice is drawn as parsers return one: not nil.

var (
	anyBytes = rapid.SliceOfN(rapid.Byte(), 0, 40)
	anyU64   = rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, 1<<63 - 1, 1 << 63, 1<<64 - 1}))
	anyU32   = rapid.OneOf(rapid.Uint32(), rapid.SampledFrom([]uint32{0, 1, 1<<31 - 1, 1 << 31, 1<<32 - 1}))
	anyID    = anyU32
	nonZero  = rapid.OneOf(rapid.Uint64Min(1), rapid.SampledFrom([]uint64{1, 1<<64 - 1}))
)

func draw[T any](t *rapid.T, g *rapid.Generator[T], label string) T { return g.Draw(t, label) }

func drawMeta(t *rapid.T, with bool) protocol.Meta {
	if !with {
		return protocol.Meta{}
	}
	return protocol.Meta{Version: draw(t, anyU64, "version"), Expiry: draw(t, anyU64, "expiry")}
}

func drawValue(t *rapid.T, withMeta bool) protocol.Value {
	if draw(t, rapid.Bool(), "absent") {
		return protocol.Value{}
	}
	return protocol.Value{Found: true, Data: draw(t, anyBytes, "value"), Meta: drawMeta(t, withMeta)}
}

// list draws up to ten items; nil where there are none, as parsers return it.
func list[T any](t *rapid.T, label string, item func() T) []T {
	var all []T
	for range draw(t, rapid.IntRange(0, 10), label) {
		all = append(all, item())
	}
	return all
}

// sent checks the frame and returns what a receiver is given of it.
func sent(t *rapid.T, frame []byte, op protocol.Opcode, id uint32) (flags uint8, body []byte) {
	h, body := split(frame)
	require.NoError(t, protocol.CheckLength(h.Length))
	require.Equal(t, len(frame), h.Size())
	require.Equal(t, len(body), h.BodySize())
	require.Equal(t, protocol.Header{Length: h.Length, Opcode: op, Flags: h.Flags, ID: id}, h)
	return h.Flags, body
}

func TestRequestsRoundTrip(t *testing.T) {
	check := func(name string, property func(t *rapid.T, id uint32)) {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { property(t, draw(t, anyID, "id")) })
		})
	}
	check("GET", func(t *rapid.T, id uint32) {
		q := protocol.Get{Key: draw(t, anyBytes, "key"), WithMeta: draw(t, rapid.Bool(), "meta"),
			AtVersion: draw(t, anyU64, "version")}
		flags, body := sent(t, q.AppendTo(nil, id), protocol.OpGet, id)
		got, err := protocol.ParseGet(flags, body)
		require.NoError(t, err)
		assert.Equal(t, q, got)
	})
	check("SET", func(t *rapid.T, id uint32) {
		q := protocol.Set{Key: draw(t, anyBytes, "key"), Value: draw(t, anyBytes, "value"), TTL: draw(t, anyU64, "ttl")}
		if q.Conditional = draw(t, rapid.Bool(), "conditional"); q.Conditional {
			q.IfVersion = draw(t, anyU64, "version")
		}
		if q.TTL == 0 {
			q.ExpireAt = draw(t, anyU64, "expire at")
		}
		flags, body := sent(t, q.AppendTo(nil, id), protocol.OpSet, id)
		got, err := protocol.ParseSet(flags, body)
		require.NoError(t, err)
		assert.Equal(t, q, got)
	})
	check("DEL, MGET", func(t *rapid.T, id uint32) {
		keys := list(t, "keys", func() []byte { return draw(t, anyBytes, "key") })
		op := draw(t, rapid.SampledFrom([]protocol.Opcode{protocol.OpDel, protocol.OpMGet}), "opcode")
		_, body := sent(t, protocol.AppendKeys(nil, op, 0, id, keys...), op, id)
		got, err := protocol.ParseKeys(nil, body)
		require.NoError(t, err)
		assert.Equal(t, keys, got)
	})
	check("MSET", func(t *rapid.T, id uint32) {
		pairs := list(t, "pairs", func() protocol.Pair {
			return protocol.Pair{Key: draw(t, anyBytes, "key"), Value: draw(t, anyBytes, "value")}
		})
		_, body := sent(t, protocol.AppendMSet(nil, id, pairs...), protocol.OpMSet, id)
		got, err := protocol.ParseMSet(nil, body)
		require.NoError(t, err)
		assert.Equal(t, pairs, got)
	})
	check("TXN", func(t *rapid.T, id uint32) {
		q := protocol.Txn{WithMeta: draw(t, rapid.Bool(), "meta")}
		q.Conditions = list(t, "conditions", func() protocol.Condition {
			return protocol.Condition{Version: draw(t, anyU64, "version"), Key: draw(t, anyBytes, "key")}
		})
		q.Ops = list(t, "operations", func() protocol.TxnOp {
			o := protocol.TxnOp{Kind: protocol.TxnKind(draw(t, rapid.IntRange(1, 4), "kind")), Key: draw(t, anyBytes, "key")}
			switch o.Kind {
			case protocol.TxnSet:
				o.TTL, o.Value = draw(t, anyU64, "ttl"), draw(t, anyBytes, "value")
			case protocol.TxnSetAt:
				o.ExpireAt, o.Value = draw(t, nonZero, "expire at"), draw(t, anyBytes, "value")
			}
			return o
		})
		flags, body := sent(t, q.AppendTo(nil, id), protocol.OpTxn, id)
		got, err := protocol.ParseTxn(flags, body)
		require.NoError(t, err)
		assert.Equal(t, q, got)
	})
	check("HELLO", func(t *rapid.T, id uint32) {
		q := protocol.Hello{Version: draw(t, rapid.Uint16Min(1), "version"), User: draw(t, anyBytes, "user"),
			Secret: draw(t, anyBytes, "secret"), Goodbye: draw(t, rapid.Bool(), "goodbye")}
		flags, body := sent(t, q.AppendTo(nil, id), protocol.OpHello, id)
		got, err := protocol.ParseHello(flags, body)
		require.NoError(t, err)
		assert.Equal(t, q, got)
	})
	check("SCAN", func(t *rapid.T, id uint32) {
		q := protocol.Scan{
			WithMeta: draw(t, rapid.Bool(), "meta"), WithValues: draw(t, rapid.Bool(), "values"),
			Limit: draw(t, anyU32, "limit"), Cursor: draw(t, anyBytes, "cursor"), Prefix: draw(t, anyBytes, "prefix"),
		}
		flags, body := sent(t, q.AppendTo(nil, id), protocol.OpScan, id)
		got, err := protocol.ParseScan(flags, body)
		require.NoError(t, err)
		assert.Equal(t, q, got)
	})
	check("HISTORY", func(t *rapid.T, id uint32) {
		q := protocol.History{Limit: draw(t, anyU32, "limit"), Key: draw(t, anyBytes, "key")}
		_, body := sent(t, q.AppendTo(nil, id), protocol.OpHistory, id)
		got, err := protocol.ParseHistory(body)
		require.NoError(t, err)
		assert.Equal(t, q, got)
	})
	check("ROLLBACK", func(t *rapid.T, id uint32) {
		q := protocol.Rollback{Version: draw(t, anyU64, "version"), Key: draw(t, anyBytes, "key")}
		_, body := sent(t, q.AppendTo(nil, id), protocol.OpRollback, id)
		got, err := protocol.ParseRollback(body)
		require.NoError(t, err)
		assert.Equal(t, q, got)
	})
	check("PURGE", func(t *rapid.T, id uint32) {
		q := protocol.Purge{Keys: draw(t, rapid.SliceOfN(anyBytes, 1, 5), "keys")}
		if draw(t, rapid.Bool(), "by prefix") {
			q = protocol.Purge{ByPrefix: true, Cursor: draw(t, anyBytes, "cursor"), Prefix: draw(t, anyBytes, "prefix")}
		}
		flags, body := sent(t, q.AppendTo(nil, id), protocol.OpPurge, id)
		got, err := protocol.ParsePurge(nil, flags, body)
		require.NoError(t, err)
		assert.Equal(t, q, got)
	})
	check("READS, MEMBER", func(t *rapid.T, id uint32) {
		q := protocol.Reads{Bound: draw(t, anyU32, "bound")}
		_, body := sent(t, q.AppendTo(nil, id), protocol.OpReads, id)
		got, err := protocol.ParseReads(body)
		require.NoError(t, err)
		assert.Equal(t, q, got)

		m := protocol.Member{Change: protocol.MemberChange(draw(t, rapid.IntRange(1, 3), "change"))}
		if m.Change == protocol.MemberAdd {
			m.Peer = draw(t, rapid.StringN(1, -1, 40), "peer")
		} else {
			m.ID = draw(t, nonZero, "member")
		}
		_, body = sent(t, m.AppendTo(nil, id), protocol.OpMember, id)
		gotM, err := protocol.ParseMember(body)
		require.NoError(t, err)
		assert.Equal(t, m, gotM)
	})
	check("INCR", func(t *rapid.T, id uint32) {
		q := protocol.Incr{Key: draw(t, anyBytes, "key"), By: int64(draw(t, anyU64, "by")), TTL: draw(t, anyU64, "ttl")}
		if q.Conditional = draw(t, rapid.Bool(), "conditional"); q.Conditional {
			q.IfVersion = draw(t, anyU64, "version")
		}
		if q.TTL == 0 {
			q.ExpireAt = draw(t, anyU64, "expire at")
		}
		flags, body := sent(t, q.AppendTo(nil, id), protocol.OpIncr, id)
		got, err := protocol.ParseIncr(flags, body)
		require.NoError(t, err)
		assert.Equal(t, q, got)
	})
	check("EXPIRE, PERSIST", func(t *rapid.T, id uint32) {
		q := protocol.Expire{Key: draw(t, anyBytes, "key"), TTL: draw(t, anyU64, "ttl")}
		if q.Conditional = draw(t, rapid.Bool(), "conditional"); q.Conditional {
			q.IfVersion = draw(t, anyU64, "version")
		}
		if q.TTL == 0 {
			q.ExpireAt = draw(t, nonZero, "expire at")
		}
		flags, body := sent(t, q.AppendTo(nil, id), protocol.OpExpire, id)
		got, err := protocol.ParseExpire(flags, body)
		require.NoError(t, err)
		assert.Equal(t, q, got)

		p := protocol.Persist{Key: q.Key, Conditional: q.Conditional, IfVersion: q.IfVersion}
		flags, body = sent(t, p.AppendTo(nil, id), protocol.OpPersist, id)
		gotP, err := protocol.ParsePersist(flags, body)
		require.NoError(t, err)
		assert.Equal(t, p, gotP)
	})
	check("BACKUP", func(t *rapid.T, id uint32) {
		q := protocol.Backup{Handle: draw(t, anyU64, "handle")}
		_, body := sent(t, q.AppendTo(nil, id), protocol.OpBackup, id)
		got, err := protocol.ParseBackup(body)
		require.NoError(t, err)
		assert.Equal(t, q, got)
	})
}

func TestResponsesRoundTrip(t *testing.T) {
	check := func(name string, property func(t *rapid.T, id uint32)) {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { property(t, draw(t, anyID, "id")) })
		})
	}
	check("GET", func(t *rapid.T, id uint32) {
		withMeta := draw(t, rapid.Bool(), "with meta")
		v := protocol.Value{Found: true, Data: draw(t, anyBytes, "value"), Meta: drawMeta(t, withMeta)}
		var body []byte
		if withMeta {
			body = protocol.AppendMeta(nil, v.Meta)
		}
		frame := protocol.AppendResponse(nil, protocol.OpGet, protocol.StatusOK, id, append(body, v.Data...))
		_, body = sent(t, frame, protocol.OpGet, id)
		got, err := protocol.ParseValue(withMeta, body)
		require.NoError(t, err)
		assert.Equal(t, v, got)
	})
	check("PURGE", func(t *rapid.T, id uint32) {
		p := protocol.PurgeResponse{Erased: draw(t, anyU64, "erased"), Version: draw(t, anyU64, "version"),
			Cursor: draw(t, anyBytes, "cursor")}
		_, body := sent(t, p.AppendTo(nil, id), protocol.OpPurge, id)
		got, err := protocol.ParsePurgeResponse(body)
		require.NoError(t, err)
		assert.Equal(t, p, got)
	})
	check("CLUSTER", func(t *rapid.T, id uint32) {
		p := protocol.ClusterResponse{
			Cluster: draw(t, anyU64, "cluster"), Node: draw(t, anyU64, "node"), Leader: draw(t, anyU64, "leader"),
			Term: draw(t, anyU64, "term"), Committed: draw(t, anyU64, "committed"), Published: draw(t, anyU64, "published"),
		}
		p.Members = list(t, "members", func() protocol.ClusterMember {
			return protocol.ClusterMember{
				ID: draw(t, anyU64, "member"), Role: protocol.Role(draw(t, rapid.IntRange(1, 2), "role")), Reachable: draw(t, rapid.Bool(), "reachable"),
				Matched: draw(t, anyU64, "matched"), Client: draw(t, rapid.StringN(0, -1, 40), "client"), Peer: draw(t, rapid.StringN(0, -1, 40), "peer"),
			}
		})
		_, body := sent(t, p.AppendTo(nil, id), protocol.OpCluster, id)
		got, err := protocol.ParseClusterResponse(body)
		require.NoError(t, err)
		assert.Equal(t, p, got)
	})
	check("INCR", func(t *rapid.T, id uint32) {
		p := protocol.IncrResponse{Value: int64(draw(t, anyU64, "value")), Version: draw(t, anyU64, "version")}
		_, body := sent(t, p.AppendTo(nil, id), protocol.OpIncr, id)
		got, err := protocol.ParseIncrResponse(body)
		require.NoError(t, err)
		assert.Equal(t, p, got)
	})
	check("SET, MSET, ROLLBACK, EXPIRE, PERSIST", func(t *rapid.T, id uint32) {
		op := draw(t, rapid.SampledFrom([]protocol.Opcode{protocol.OpSet, protocol.OpMSet, protocol.OpRollback,
			protocol.OpExpire, protocol.OpPersist}), "opcode")
		v := draw(t, anyU64, "version")
		_, body := sent(t, protocol.AppendVersion(nil, op, id, v), op, id)
		got, err := protocol.ParseVersion(body)
		require.NoError(t, err)
		assert.Equal(t, v, got)
	})
	check("DEL", func(t *rapid.T, id uint32) {
		n, v := draw(t, anyU32, "existed"), draw(t, anyU64, "version")
		_, body := sent(t, protocol.AppendDeleted(nil, id, n, v), protocol.OpDel, id)
		gotN, gotV, err := protocol.ParseDeleted(body)
		require.NoError(t, err)
		assert.Equal(t, n, gotN)
		assert.Equal(t, v, gotV)
	})
	check("MGET", func(t *rapid.T, id uint32) {
		withMeta := draw(t, rapid.Bool(), "with meta")
		values := list(t, "values", func() protocol.Value { return drawValue(t, withMeta) })
		_, body := sent(t, protocol.AppendValues(nil, id, withMeta, values), protocol.OpMGet, id)
		got, err := protocol.ParseValues(nil, withMeta, body)
		require.NoError(t, err)
		assert.Equal(t, values, got)
	})
	check("TXN", func(t *rapid.T, id uint32) {
		withMeta := draw(t, rapid.Bool(), "with meta")
		p := protocol.TxnResponse{Version: draw(t, anyU64, "version")}
		p.Results = list(t, "results", func() protocol.TxnResult {
			r := protocol.TxnResult{Kind: protocol.TxnKind(draw(t, rapid.IntRange(1, 4), "kind"))}
			switch r.Kind {
			case protocol.TxnGet:
				r.Value = drawValue(t, withMeta)
			case protocol.TxnDel:
				r.Existed = draw(t, rapid.Bool(), "existed")
			}
			return r
		})
		_, body := sent(t, p.AppendTo(nil, id, withMeta), protocol.OpTxn, id)
		got, err := protocol.ParseTxnResponse(withMeta, body)
		require.NoError(t, err)
		assert.Equal(t, p, got)
	})
	check("STATS", func(t *rapid.T, id uint32) {
		stats := list(t, "stats", func() protocol.Stat {
			return protocol.Stat{Name: draw(t, rapid.StringN(0, -1, 40), "name"), Value: draw(t, anyU64, "value")}
		})
		_, body := sent(t, protocol.AppendStats(nil, id, stats), protocol.OpStats, id)
		got, err := protocol.ParseStats(body)
		require.NoError(t, err)
		assert.Equal(t, stats, got)
	})
	check("HELLO", func(t *rapid.T, id uint32) {
		p := protocol.HelloResponse{
			Version: draw(t, rapid.Uint16(), "version"), Limit: draw(t, anyU32, "limit"),
			Instance: draw(t, anyU64, "instance"), Server: draw(t, rapid.String(), "server"),
		}
		_, body := sent(t, p.AppendTo(nil, id), protocol.OpHello, id)
		got, err := protocol.ParseHelloResponse(body)
		require.NoError(t, err)
		assert.Equal(t, p, got)
	})
	check("SCAN", func(t *rapid.T, id uint32) {
		withMeta, withValues := draw(t, rapid.Bool(), "with meta"), draw(t, rapid.Bool(), "with values")
		p := protocol.ScanPage{Cursor: draw(t, anyBytes, "cursor")}
		p.Items = list(t, "items", func() protocol.ScanItem {
			it := protocol.ScanItem{Key: draw(t, anyBytes, "key"), Meta: drawMeta(t, withMeta)}
			if withValues {
				it.Value = draw(t, anyBytes, "value")
			}
			return it
		})
		_, body := sent(t, p.AppendTo(nil, id, withMeta, withValues), protocol.OpScan, id)
		got, err := protocol.ParseScanPage(withMeta, withValues, body)
		require.NoError(t, err)
		assert.Equal(t, p, got)
	})
	check("HISTORY", func(t *rapid.T, id uint32) {
		revisions := list(t, "revisions", func() protocol.Revision {
			return protocol.Revision{Version: draw(t, anyU64, "version"), Time: draw(t, anyU64, "time"),
				Value: drawValue(t, false)}
		})
		_, body := sent(t, protocol.AppendHistory(nil, id, revisions), protocol.OpHistory, id)
		got, err := protocol.ParseHistoryResponse(body)
		require.NoError(t, err)
		assert.Equal(t, revisions, got)
	})
	check("SNAPSHOT", func(t *rapid.T, id uint32) {
		p := protocol.SnapshotResponse{Version: draw(t, anyU64, "version"), Bytes: draw(t, anyU64, "bytes")}
		_, body := sent(t, p.AppendTo(nil, id), protocol.OpSnapshot, id)
		got, err := protocol.ParseSnapshotResponse(body)
		require.NoError(t, err)
		assert.Equal(t, p, got)
	})
	check("BACKUP", func(t *rapid.T, id uint32) {
		p := protocol.BackupResponse{Handle: draw(t, anyU64, "handle"),
			Chunk: draw(t, rapid.SliceOfN(rapid.Byte(), 1, 40), "chunk")}
		_, body := sent(t, p.AppendTo(nil, id), protocol.OpBackup, id)
		got, err := protocol.ParseBackupResponse(body)
		require.NoError(t, err)
		assert.Equal(t, p, got)
	})
	check("errors", func(t *rapid.T, id uint32) {
		e := &protocol.Error{Status: protocol.Status(draw(t, rapid.Uint8Range(1, 20), "status"))}
		op := protocol.Opcode(draw(t, rapid.Uint8(), "opcode"))
		switch e.Status {
		case protocol.StatusNotFound:
		case protocol.StatusConflict:
			e.Version = draw(t, nonZero, "version")
			if op == protocol.OpTxn {
				e.Index = int(draw(t, anyU32, "index"))
			}
		default:
			e.Message = draw(t, rapid.String(), "message")
		}
		_, body := sent(t, protocol.AppendError(nil, op, id, e), op, id)
		assert.Equal(t, error(e), protocol.ParseError(op, e.Status, body))
	})
}
