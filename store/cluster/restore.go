package cluster

import (
	"io"

	"kv/store/vfs"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/record"
	"kv/store/wal/tool"
)

// Restore makes, of a backup, the folder of the only node of a new cluster, as tool.RestoreFrom makes one of a store
// that is alone. Where the node is, the cluster learns when it runs; others join it, with empty folders. Who restores a
// second folder of the same backup has two clusters.
func Restore(fs vfs.FS, from io.Reader, dir string) (tool.Report, Self, error) {
	self := Self{Cluster: folder.NewMemberID(), Node: folder.NewMemberID()}
	base := alone(Member{ID: self.Node}, 1, 1)
	report, err := tool.RestoreAs(fs, from, dir, tool.Form{
		Header: frame.Header{Magic: MagicSnapshot, ID: self.Cluster, Seq: base.Index},
		End: func(out *record.SnapshotWriter, at record.Point) error {
			return finishSnapshot(out, snapshotMeta{base: base, whole: base.Index, time: at.Time}, at.Version)
		},
		Log: func() error {
			l, err := NewLog(LogOptions{FS: fs, Dir: dir, Base: base}, self)
			if err != nil {
				return err
			}
			return l.Close()
		},
	})
	return report, self, err
}
