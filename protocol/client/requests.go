package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"

	"kv/protocol"
)

// requests are the methods that [Client] and [Pool] share: each request of the protocol as a call that waits for its answer.
//
// Their errors: a *[protocol.Error] where the server refused, which was not applied then unless its status is
// UNAVAILABLE or INTERNAL; [ErrUnknown] where a write may have been applied; else nothing was.
type requests struct {
	client *Client // one of the two
	pool   *Pool
}

// do sends one request, waits, and returns the body of an OK answer, and the connection that it came by.
func (r *requests) do(ctx context.Context, op protocol.Opcode, frame func(dst []byte, id uint32) []byte) ([]byte, *Client, error) {
	if r.pool != nil {
		return r.pool.do(ctx, op, frame)
	}
	return r.client.doThere(ctx, frame)
}

// Get returns the value of key with its version and expiry, or protocol.ErrNotFound.
func (r *requests) Get(ctx context.Context, key []byte) (protocol.Value, error) {
	return r.get(ctx, protocol.Get{Key: key, WithMeta: true})
}

// GetVersion returns the value that key had in a version which the server still keeps, or protocol.ErrNotFound.
func (r *requests) GetVersion(ctx context.Context, key []byte, version uint64) (protocol.Value, error) {
	if version == 0 {
		return protocol.Value{}, protocol.ErrNotFound // 0 stands for an absent key, no write ever has it
	}
	return r.get(ctx, protocol.Get{Key: key, WithMeta: true, AtVersion: version})
}

func (r *requests) get(ctx context.Context, q protocol.Get) (protocol.Value, error) {
	body, c, err := r.do(ctx, protocol.OpGet, q.AppendTo)
	if err != nil {
		return protocol.Value{}, err
	}
	v, err := protocol.ParseValue(true, body)
	if err != nil {
		return protocol.Value{}, c.malformed(protocol.OpGet, err)
	}
	return v, nil
}

// MGet returns the values of keys, in their order, all current together at one instant, with versions and expiries.
func (r *requests) MGet(ctx context.Context, keys ...[]byte) ([]protocol.Value, error) {
	body, c, err := r.do(ctx, protocol.OpMGet, func(dst []byte, id uint32) []byte {
		return protocol.AppendKeys(dst, protocol.OpMGet, protocol.FlagWithMeta, id, keys...)
	})
	if err != nil {
		return nil, err
	}
	values, err := protocol.ParseValues(make([]protocol.Value, 0, len(keys)), true, body)
	if err == nil && len(values) != len(keys) {
		err = miscounted(len(values), len(keys))
	}
	if err != nil {
		return nil, c.malformed(protocol.OpMGet, err)
	}
	return values, nil
}

// Set gives one key a value and returns the version of that. When q.IfVersion is not the key's version it fails with
// protocol.ErrConflict, and the *[protocol.Error] has the current one.
func (r *requests) Set(ctx context.Context, q protocol.Set) (version uint64, err error) {
	return r.write(ctx, protocol.OpSet, q.AppendTo)
}

// MSet sets all pairs at one instant and returns the version that they share; of equal keys the last wins.
func (r *requests) MSet(ctx context.Context, pairs ...protocol.Pair) (version uint64, err error) {
	return r.write(ctx, protocol.OpMSet, func(dst []byte, id uint32) []byte {
		return protocol.AppendMSet(dst, id, pairs...)
	})
}

// Incr adds q.By to the number that a key holds, an absent one holding 0, and returns the sum and its version. Errors:
// protocol.ErrBadRequest where the key holds no number, or the sum would be out of 64 bits; protocol.ErrConflict as
// Set.
func (r *requests) Incr(ctx context.Context, q protocol.Incr) (value int64, version uint64, err error) {
	body, c, err := r.do(ctx, protocol.OpIncr, q.AppendTo)
	if err != nil {
		return 0, 0, err
	}
	p, err := protocol.ParseIncrResponse(body)
	if err != nil {
		return 0, 0, c.malformed(protocol.OpIncr, err)
	}
	return p.Value, p.Version, nil
}

// Expire gives a key another expiry and returns the version that it then has; where the time has passed, that of its deletion.
// Errors: protocol.ErrNotFound, and protocol.ErrConflict as Set.
func (r *requests) Expire(ctx context.Context, q protocol.Expire) (version uint64, err error) {
	return r.write(ctx, protocol.OpExpire, q.AppendTo)
}

// Persist takes its expiry from a key and returns the version that it then has; where it had none, nothing was written. Errors:
// protocol.ErrNotFound, and protocol.ErrConflict as Set.
func (r *requests) Persist(ctx context.Context, q protocol.Persist) (version uint64, err error) {
	return r.write(ctx, protocol.OpPersist, q.AppendTo)
}

// Rollback gives key a new version that equals a kept one, which may be a deletion, and returns the new version.
// protocol.ErrNotFound: that version is not kept.
func (r *requests) Rollback(ctx context.Context, key []byte, version uint64) (uint64, error) {
	return r.write(ctx, protocol.OpRollback, protocol.Rollback{Version: version, Key: key}.AppendTo)
}

// write does a request whose answer is a version.
func (r *requests) write(ctx context.Context, op protocol.Opcode, frame func([]byte, uint32) []byte) (uint64, error) {
	body, c, err := r.do(ctx, op, frame)
	if err != nil {
		return 0, err
	}
	version, err := protocol.ParseVersion(body)
	if err != nil {
		return 0, c.malformed(op, err)
	}
	return version, nil
}

// Del deletes all keys at one instant. It returns how many existed, a key named twice counting once, and the version of
// their deletion, 0 if none existed.
func (r *requests) Del(ctx context.Context, keys ...[]byte) (existed int, version uint64, err error) {
	body, c, err := r.do(ctx, protocol.OpDel, func(dst []byte, id uint32) []byte {
		return protocol.AppendKeys(dst, protocol.OpDel, 0, id, keys...)
	})
	if err != nil {
		return 0, 0, err
	}
	n, version, err := protocol.ParseDeleted(body)
	if err == nil && uint64(n) > uint64(len(keys)) {
		err = miscounted(int(n), len(keys))
	}
	if err != nil {
		return 0, 0, c.malformed(protocol.OpDel, err)
	}
	return int(n), version, nil
}

// Txn checks q's conditions and, if all hold, runs its operations at one instant; a result for each. When a condition
// does not hold it fails with protocol.ErrConflict, and the *[protocol.Error] has its index and the key's version.
func (r *requests) Txn(ctx context.Context, q protocol.Txn) (protocol.TxnResponse, error) {
	body, c, err := r.do(ctx, protocol.OpTxn, q.AppendTo)
	if err != nil {
		return protocol.TxnResponse{}, err
	}
	p, err := protocol.ParseTxnResponse(q.WithMeta, body)
	if err == nil {
		err = matches(p.Results, q.Ops)
	}
	if err != nil {
		return protocol.TxnResponse{}, c.malformed(protocol.OpTxn, err)
	}
	return p, nil
}

// matches checks that each operation has its result.
func matches(results []protocol.TxnResult, ops []protocol.TxnOp) error {
	if len(results) != len(ops) {
		return miscounted(len(results), len(ops))
	}
	for i, r := range results {
		if r.Kind != ops[i].Kind {
			return fmt.Errorf("%w: result %d is of kind %d, its operation of kind %d",
				protocol.ErrMalformed, i, r.Kind, ops[i].Kind)
		}
	}
	return nil
}

// Scan returns one page of the keys that begin with q.Prefix. Continue with the page's Cursor until that is empty.
func (r *requests) Scan(ctx context.Context, q protocol.Scan) (protocol.ScanPage, error) {
	if len(q.Cursor) > math.MaxUint16 {
		return protocol.ScanPage{}, &protocol.Error{Status: protocol.StatusBadRequest, Message: "SCAN: no cursor is that long"}
	}
	body, c, err := r.do(ctx, protocol.OpScan, q.AppendTo)
	if err != nil {
		return protocol.ScanPage{}, err
	}
	p, err := protocol.ParseScanPage(q.WithMeta, q.WithValues, body)
	if err != nil {
		return protocol.ScanPage{}, c.malformed(protocol.OpScan, err)
	}
	return p, nil
}

// History returns the kept versions of key, newest first, at most limit of them; 0: all.
func (r *requests) History(ctx context.Context, key []byte, limit uint32) ([]protocol.Revision, error) {
	body, c, err := r.do(ctx, protocol.OpHistory, protocol.History{Limit: limit, Key: key}.AppendTo)
	if err != nil {
		return nil, err
	}
	revisions, err := protocol.ParseHistoryResponse(body)
	if err != nil {
		return nil, c.malformed(protocol.OpHistory, err)
	}
	return revisions, nil
}

// Purge erases the past of keys, those of q or a page of those with its prefix, and returns how many versions went. By prefix,
// continue with the answer's Cursor until that is empty.
func (r *requests) Purge(ctx context.Context, q protocol.Purge) (protocol.PurgeResponse, error) {
	if len(q.Cursor) > math.MaxUint16 {
		return protocol.PurgeResponse{}, &protocol.Error{Status: protocol.StatusBadRequest,
			Message: "PURGE: no cursor is that long"}
	}
	body, c, err := r.do(ctx, protocol.OpPurge, q.AppendTo)
	if err != nil {
		return protocol.PurgeResponse{}, err
	}
	p, err := protocol.ParsePurgeResponse(body)
	if err != nil {
		return protocol.PurgeResponse{}, c.malformed(protocol.OpPurge, err)
	}
	return p, nil
}

// Stats returns the server's figures.
func (r *requests) Stats(ctx context.Context) ([]protocol.Stat, error) {
	body, c, err := r.do(ctx, protocol.OpStats, bare(protocol.OpStats))
	if err != nil {
		return nil, err
	}
	stats, err := protocol.ParseStats(body)
	if err != nil {
		return nil, c.malformed(protocol.OpStats, err)
	}
	return stats, nil
}

// Ping sends payload there and back.
func (r *requests) Ping(ctx context.Context, payload []byte) error {
	body, c, err := r.do(ctx, protocol.OpPing, func(dst []byte, id uint32) []byte {
		return append(protocol.AppendHeader(dst, protocol.OpPing, 0, id, len(payload)), payload...)
	})
	if err == nil && !bytes.Equal(body, payload) {
		err = c.malformed(protocol.OpPing, fmt.Errorf("%w: PING brought back other bytes", protocol.ErrMalformed))
	}
	return err
}

// Snapshot makes the server write a snapshot to its disk now, and returns when it is there.
func (r *requests) Snapshot(ctx context.Context) (protocol.SnapshotResponse, error) {
	body, c, err := r.do(ctx, protocol.OpSnapshot, bare(protocol.OpSnapshot))
	if err != nil {
		return protocol.SnapshotResponse{}, err
	}
	p, err := protocol.ParseSnapshotResponse(body)
	if err != nil {
		return protocol.SnapshotResponse{}, c.malformed(protocol.OpSnapshot, err)
	}
	return p, nil
}

// Backup writes a consistent backup of the whole store to w, chunk by chunk, and returns how many bytes that were. After
// an error, what was written is not a backup.
func (r *requests) Backup(ctx context.Context, w io.Writer) (bytes int64, err error) {
	for q := (protocol.Backup{}); ; {
		body, c, err := r.do(ctx, protocol.OpBackup, q.AppendTo)
		if err != nil {
			return bytes, err
		}
		p, err := protocol.ParseBackupResponse(body)
		if err != nil {
			return bytes, c.malformed(protocol.OpBackup, err)
		}
		n, err := w.Write(p.Chunk)
		bytes += int64(n)
		if err != nil {
			return bytes, err
		}
		if p.Handle == 0 {
			return bytes, nil
		}
		q.Handle = p.Handle
	}
}

// bare makes a request without a body.
func bare(op protocol.Opcode) func([]byte, uint32) []byte {
	return func(dst []byte, id uint32) []byte { return protocol.AppendHeader(dst, op, 0, id, 0) }
}

func miscounted(got, want int) error {
	return fmt.Errorf("%w: %d results for %d", protocol.ErrMalformed, got, want)
}
