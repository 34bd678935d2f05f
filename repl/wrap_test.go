package repl

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Help is broken between words, at any width, and says the same at each.
func TestHelpAtAnyWidth(t *testing.T) {
	texts := func(columns int) (all []string) {
		for _, m := range []mode{oneShot, interactive} {
			var out bytes.Buffer
			s := newSession(Env{Out: &out, OutTerminal: true, Size: func() (int, int) { return columns, 24 }})
			s.mode = m
			require.NoError(t, s.output(s.printOverview()))
			for _, cmd := range commands() {
				require.NoError(t, s.printHelp(cmd))
			}
			for _, topic := range topics() {
				s.out.WriteString(s.wrapped(topic.text))
			}
			require.NoError(t, s.output(nil))
			all = append(all, out.String())
		}
		return all
	}
	widest := texts(1000)
	for _, columns := range []int{1, 20, 30, 40, 60, 80, 120} {
		for i, help := range texts(columns) {
			assert.Equal(t, strings.Fields(widest[i]), strings.Fields(help), "%d columns", columns)
			for line := range strings.Lines(help) {
				line = strings.TrimSuffix(line, "\n")
				if columns < 40 || utf8.RuneCountInString(line) <= columns {
					continue
				}
				// Only a line that is to be typed may be longer: broken, it would be another.
				assert.True(t, strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "kvc "), "%d columns: %q", columns, line)
			}
		}
	}
}

func TestHanging(t *testing.T) {
	assert.Equal(t, "  get   Print it.\n", hanging("  get   ", "Print it.", 17))
	assert.Equal(t, "  get   Print\n        it.\n", hanging("  get   ", "Print it.", 16))
	assert.Equal(t, "  get-or-else\n    Print it.\n", hanging("  get-or-else   ", "Print it.", 16))
	assert.Equal(t, "uninterruptible\nit\n", hanging("", "uninterruptible it", 5))
}

func TestProgressFits(t *testing.T) {
	for _, total := range []int64{0, 1, 1e6, 1e13} {
		for _, done := range []int64{0, 1, 1e6, 1e13} {
			lines := progressLines(done, total, 123_456_789, 100*time.Hour)
			assert.LessOrEqual(t, len(lines[0]), 79, lines[0])
			for i := range lines[1:] {
				assert.Less(t, len(lines[i+1]), len(lines[i]))
			}
			for columns := range 100 {
				var out bytes.Buffer
				p := &progress{s: newSession(Env{Err: &out, Size: func() (int, int) { return columns, 24 }})}
				p.line(lines...)
				assert.LessOrEqual(t, len(strings.TrimPrefix(out.String(), "\r\x1b[K")), max(0, columns-1), fmt.Sprint(lines))
			}
		}
	}
}
