package protocol

import "encoding/binary"

// SnapshotResponse says what a SNAPSHOT wrote.
type SnapshotResponse struct {
	Version uint64 // every write up to this version is in it
	Bytes   uint64 // its size
}

// AppendTo appends the whole response frame of p.
func (p SnapshotResponse) AppendTo(dst []byte, id uint32) []byte {
	dst = AppendHeader(dst, OpSnapshot, uint8(StatusOK), id, 16)
	dst = binary.BigEndian.AppendUint64(dst, p.Version)
	return binary.BigEndian.AppendUint64(dst, p.Bytes)
}

// ParseSnapshotResponse reads the OK body of a SNAPSHOT.
func ParseSnapshotResponse(body []byte) (SnapshotResponse, error) {
	r := reader{b: body}
	p := SnapshotResponse{Version: r.u64(), Bytes: r.u64()}
	if !r.done() {
		return p, malformedf("SNAPSHOT: an answer of %d bytes, not 16", len(body))
	}
	return p, nil
}

// Backup asks for the next chunk of a backup.
type Backup struct {
	Handle uint64 // 0: begin one; else as the answer before gave it
}

// AppendTo appends the whole frame of r.
func (r Backup) AppendTo(dst []byte, id uint32) []byte {
	dst = AppendHeader(dst, OpBackup, 0, id, 8)
	return binary.BigEndian.AppendUint64(dst, r.Handle)
}

// ParseBackup reads the body of a BACKUP.
func ParseBackup(body []byte) (Backup, error) {
	r := reader{b: body}
	q := Backup{Handle: r.u64()}
	if !r.done() {
		return q, badf("BACKUP needs 8 bytes of handle and no more, the body has %d", len(body))
	}
	return q, nil
}

// BackupResponse is one chunk of a backup. The chunks in order are the backup.
type BackupResponse struct {
	Handle uint64 // what the next request continues with; 0: this was the last chunk
	Chunk  []byte // empty only in the last
}

// BackupHeadSize is how long the body of an answer to BACKUP is without its chunk.
const BackupHeadSize = 8

// AppendBackupHead appends the header and the body's head of the answer to a BACKUP. A chunk of so many bytes follows.
func AppendBackupHead(dst []byte, id uint32, chunk int, handle uint64) []byte {
	dst = AppendHeader(dst, OpBackup, uint8(StatusOK), id, BackupHeadSize+chunk)
	return binary.BigEndian.AppendUint64(dst, handle)
}

// AppendTo appends the whole response frame of p.
func (p BackupResponse) AppendTo(dst []byte, id uint32) []byte {
	return append(AppendBackupHead(dst, id, len(p.Chunk), p.Handle), p.Chunk...)
}

// ParseBackupResponse reads the OK body of a BACKUP.
func ParseBackupResponse(body []byte) (BackupResponse, error) {
	r := reader{b: body}
	p := BackupResponse{Handle: r.u64(), Chunk: r.rest()}
	if r.bad || p.Handle != 0 && len(p.Chunk) == 0 {
		return p, malformedf("BACKUP: an answer of %d bytes has no handle, or no chunk and yet is not the last", len(body))
	}
	return p, nil
}
