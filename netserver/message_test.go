package netserver

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kv/protocol"
)

// TestPrintable: whatever a message is made of, it is one line of text.
func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "",
		"the disk failed: é – 世界 🙂":  "the disk failed: é – 世界 🙂",
		`C:\new "quoted" 'so'`:       `C:\new "quoted" 'so'`,
		"a\nkvc: all is well\r\n":    `a\nkvc: all is well\x0d\n`,
		"\x1b[2J\a\x00\x7f\u009b31m": `\x1b[2J\x07\x00\x7f\xc2\x9b31m`,
		"\u202egnp.exe\u2028":        `\xe2\x80\xaegnp.exe\xe2\x80\xa8`,
		"\xff\xc3(":                  `\xff\xc3(`,
		"\ufffd":                     "\ufffd", // that came as it is
	} {
		e := &protocol.Error{Status: protocol.StatusUnavailable, Message: text}
		frame := appendRefusal(nil, protocol.OpGet, 1, e)
		require.Equal(t, want, string(frame[protocol.HeaderSize:]))
		require.Equal(t, text, e.Message, "an error that others share was changed")
	}
}
