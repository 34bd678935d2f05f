package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"go.etcd.io/raft/v3"
)

// idText is how a node or a cluster is called in the log: as kvc cluster status does, and as text, since what reads
// JSON may take a number for a float.
func idText(id uint64) string { return strconv.FormatUint(id, 10) }

// raftLogger gives the library's lines to a slog.Logger: what it tells of each election is for debugging. Where the library
// panics, its state and the log contradict each other: the loop ends the node (C9).
type raftLogger struct{ l *slog.Logger }

var _ raft.Logger = raftLogger{}

func (r raftLogger) say(level slog.Level, v []any) {
	if r.l.Enabled(context.Background(), level) {
		r.l.Log(context.Background(), level, fmt.Sprint(v...))
	}
}

func (r raftLogger) sayf(level slog.Level, format string, v []any) {
	if r.l.Enabled(context.Background(), level) {
		format = strings.ReplaceAll(format, "%x", "%d") // ids: see idText
		r.l.Log(context.Background(), level, fmt.Sprintf(format, v...))
	}
}

func (r raftLogger) Debug(v ...any)                   { r.say(slog.LevelDebug, v) }
func (r raftLogger) Debugf(format string, v ...any)   { r.sayf(slog.LevelDebug, format, v) }
func (r raftLogger) Info(v ...any)                    { r.say(slog.LevelDebug, v) }
func (r raftLogger) Infof(format string, v ...any)    { r.sayf(slog.LevelDebug, format, v) }
func (r raftLogger) Warning(v ...any)                 { r.say(slog.LevelWarn, v) }
func (r raftLogger) Warningf(format string, v ...any) { r.sayf(slog.LevelWarn, format, v) }
func (r raftLogger) Error(v ...any)                   { r.say(slog.LevelError, v) }
func (r raftLogger) Errorf(format string, v ...any)   { r.sayf(slog.LevelError, format, v) }
func (r raftLogger) Fatal(v ...any)                   { panic(fmt.Errorf("raft: %s", fmt.Sprint(v...))) }
func (r raftLogger) Fatalf(format string, v ...any)   { panic(fmt.Errorf("raft: "+format, v...)) }
func (r raftLogger) Panic(v ...any)                   { panic(fmt.Errorf("raft: %s", fmt.Sprint(v...))) }
func (r raftLogger) Panicf(format string, v ...any)   { panic(fmt.Errorf("raft: "+format, v...)) }
