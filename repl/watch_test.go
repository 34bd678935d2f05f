package repl

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"

	"kv/protocol"
)

func TestTheViewFitsTheWindow(t *testing.T) {
	v := &view{}
	at := time.Now()
	for i := range 100 {
		var stats []protocol.Stat
		for n, f := range protocol.Figures() {
			value := uint64(i * n * 1e6)
			if n%3 == 0 {
				value = 0
			}
			stats = append(stats, protocol.Stat{Name: f.Name, Value: value})
		}
		v.add(at.Add(time.Duration(i)*time.Second), time.Millisecond, stats)
	}
	for _, columns := range []int{1, 10, 14, 20, 39, 40, 80, 300} {
		for _, rows := range []int{1, 2, 3, 5, 10, 24, 100} {
			lines := v.lines(columns, rows)
			assert.LessOrEqual(t, len(lines), max(1, rows-1), "%dx%d", columns, rows)
			for _, line := range lines {
				assert.LessOrEqual(t, utf8.RuneCountInString(line), max(0, columns-1), "%dx%d", columns, rows)
			}
		}
	}
	all := strings.Join(v.lines(80, 100), "\n")
	assert.Contains(t, all, "\nhits ", "what is 0 is shown where there is room")
	few := strings.Join(v.lines(80, 10), "\n")
	assert.NotContains(t, few, "\nhits ", "and where there is none, not")
	assert.Contains(t, few, "\nkeys ")
	assert.Contains(t, few, "more: stats prints all")
}

func TestFiguresForAPerson(t *testing.T) {
	for _, tt := range []struct {
		row  row
		want string
	}{
		{row{name: "keys", value: 9999}, "9999"},
		{row{name: "keys", value: 165631}, "165.63 k"},
		{row{name: "keys", value: 1e6}, "1.00 M"},
		{row{name: "get_ops", value: 2.5e6, unit: "/s"}, "2.50 M/s"},
		{row{name: "get_ops", value: 0.5, unit: "/s"}, "0.50/s"},
		{row{name: "memory_bytes", value: 18918992}, "18.0 MiB"},
		{row{name: "bytes_in", value: 2048, unit: "/s"}, "2.0 KiB/s"},
		{row{name: "uptime_seconds", value: 3725}, "1h2m5s"},
		{row{name: "sync_policy", value: 3}, "always"},
		{row{name: "sync_policy", value: 17}, "17"},
		{row{name: "read_only", value: 1}, "yes"},
	} {
		assert.Equal(t, tt.want, tt.row.human())
	}
}
