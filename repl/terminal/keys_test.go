package terminal

import (
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// decoded is what a decoder makes of the bytes, in words.
func decoded(in string) string {
	var d decoder
	var out []string
	for i := range len(in) {
		d.decode(in[i], func(e event) {
			switch {
			case e.sequence != "":
				out = append(out, "ESC"+e.sequence[1:])
			case e.r == invalid:
				out = append(out, "invalid")
			case e.r == del:
				out = append(out, "del")
			case e.r == tab:
				out = append(out, "TAB")
			case e.r < ' ':
				out = append(out, "^"+string('@'+e.r))
			default:
				out = append(out, string(e.r))
			}
		})
	}
	return strings.Join(out, " ")
}

func TestKeys(t *testing.T) {
	for in, want := range map[string]string{
		"aé漢😀":                                "a é 漢 😀",
		"\r\n":                                "^M ^M",
		"\x01\t\x7f":                          "^A ^I \x7f",
		"a\x00b\x1ac\x1cd":                    "a b ^Z c d", // NUL is readline's end of input
		"\x1b[A\x1bOB":                        "ESC[A ESCOB",
		"\x1b[1;5C\x1b[1;3D\x1b[5D\x1bOc":     "ESCf ESCb ESCb ESCf", // Ctrl and Alt with arrows
		"\x1b[3;5~":                           "ESCd",
		"\x1b[1;2C":                           "ESC[1;2C",
		"\x1b[1~\x1b[4~":                      "ESC[H ESC[F", // Home and End of tmux
		"\x1b[3~":                             "del",
		"\x1b[15~x":                           "x", // F5
		"\x1b\x1b[A":                          "ESC[A",
		"\x1bb\x1bf":                          "ESCb ESCf",
		"\xff":                                "invalid",
		"\xc3x":                               "invalid x",
		"\xe2\x82\r":                          "invalid invalid ^M",
		"\xf0\x9f\x98\x80":                    "😀",
		"\u009b":                              "invalid",
		"\uFDD0\U000E0001":                    "invalid invalid", // stand-ins
		"\x1b[200~a\tb\x03\x1b[Ac\x1b[201~\t": "a TAB b invalid invalid c ^I",
	} {
		assert.Equal(t, want, decoded(in), "%q", in)
	}
}

// read reads what there is for readline, as it would.
func read(k *keys, n int) string {
	buf := make([]byte, 4096)
	var out strings.Builder
	for range n {
		m, _ := k.Read(buf)
		out.Write(buf[:m])
	}
	return out.String()
}

func TestTextThatWaitsComesTogether(t *testing.T) {
	k := newKeys(nil)
	k.open()
	k.feed([]byte("pasted\x01x\r"))
	assert.Equal(t, string(paste), read(k, 1))
	assert.Equal(t, "pasted", string(k.takePasted()))
	assert.Equal(t, "\x01x\r", read(k, 3))
	k.open()
	k.feed([]byte("ab\x03"))
	assert.Equal(t, string(paste), read(k, 1))
	k.unpaste()
	assert.Equal(t, "ab\x03", read(k, 3), "one by one, for readline's search, and before what follows")
}

func TestNothingIsReadAfterTheEndOfALine(t *testing.T) {
	k := newKeys(nil)
	k.open()
	k.feed([]byte("\rb\r"))
	assert.Equal(t, "\r", read(k, 1))
	got := make(chan string)
	go func() { got <- read(k, 1) }()
	select {
	case s := <-got:
		require.Fail(t, "read before the next line was asked for", "%q", s)
	default:
	}
	k.open()
	assert.Equal(t, "b", <-got)
}

func TestCtrlCWhileACommandRuns(t *testing.T) {
	k := newKeys(nil)
	cancelled := 0
	cancel := func() { cancelled++ }
	k.running(cancel)
	k.feed([]byte("ahead\r\x04\x1a"))
	assert.Zero(t, cancelled)
	k.feed([]byte("\x03after"))
	assert.Equal(t, 1, cancelled)
	k.running(nil)
	k.open()
	read(k, 1)
	assert.Equal(t, "after", string(k.takePasted()), "what was typed before Ctrl-C is forgotten")

	k.feed([]byte("\x03x"))
	k.running(cancel) // it was typed after Enter, and before the command began
	assert.Equal(t, 2, cancelled)
}

func TestTheTerminalGoesAway(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	k := newKeys(r)
	done := make(chan struct{})
	go func() {
		k.pump()
		close(done)
	}()
	cancelled := make(chan struct{})
	k.running(func() { close(cancelled) })
	w.Close()
	<-cancelled
	<-done
	_, err = k.Read(make([]byte, 10))
	assert.Equal(t, io.EOF, err)
	assert.True(t, k.gone())
}

// TestPadding: whatever is typed or deleted, each wide rune has its stand-in, and the cursor is outside of the two.
func TestPadding(t *testing.T) {
	letters := []rune("aé漢字😀✅한")
	rapid.Check(t, func(t *rapid.T) {
		line := padded(rapid.SliceOfN(rapid.SampledFrom(letters), 0, 12).Draw(t, "line"))
		require.Equal(t, line, padded([]rune(text(t, line))))
		pos := 0
		step := func(line []rune, pos int, key rune) ([]rune, int) {
			out, at, changed := repad(line, pos, key)
			if !changed {
				require.Equal(t, line, out)
				require.Equal(t, pos, at)
			}
			require.Equal(t, out, padded([]rune(text(t, out))), "each wide rune has its stand-in")
			require.True(t, at >= 0 && at <= len(out))
			if at > 0 && at < len(out) {
				require.False(t, standIn(out[at]), "the cursor is between a rune and its stand-in")
			}
			return out, at
		}
		for range rapid.IntRange(1, 30).Draw(t, "keys") {
			before := text(t, line)
			n := len([]rune(text(t, line[:pos]))) // runes before the cursor
			runes := []rune(before)
			var want string
			switch key := rapid.SampledFrom([]rune{keyForward, 2, keyBackspace, keyEOF, 'x', '漢', '😀'}).Draw(t, "key"); key {
			case keyForward:
				line, pos = step(line, min(pos+1, len(line)), key)
				want = before
			case 2:
				line, pos = step(line, max(pos-1, 0), key)
				want = before
			case keyBackspace:
				if pos == 0 {
					continue
				}
				line, pos = step(append(append([]rune{}, line[:pos-1]...), line[pos:]...), pos-1, key)
				want = string(runes[:n-1]) + string(runes[n:])
			case keyEOF:
				if pos == len(line) {
					continue
				}
				line, pos = step(append(append([]rune{}, line[:pos]...), line[pos+1:]...), pos, key)
				want = string(runes[:n]) + string(runes[n+1:])
			default:
				line, pos = step(append(append(append([]rune{}, line[:pos]...), key), line[pos:]...), pos+1, key)
				want = string(runes[:n]) + string(key) + string(runes[n:])
			}
			require.Equal(t, want, text(t, line))
		}
	})
}

func text(t require.TestingT, line []rune) string {
	s, err := unpadded(string(line))
	require.NoError(t, err)
	return s
}

func TestStandInsAreNotDrawn(t *testing.T) {
	var b strings.Builder
	line := string(padded([]rune("漢😀"))) + string(tab) + string(invalid) + string(paste) + "x\uFDEF"
	n, err := undrawn{&b}.Write([]byte(line))
	require.NoError(t, err)
	assert.Equal(t, len(line), n)
	assert.Equal(t, "漢😀 \uFFFDx\uFDEF", b.String())
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"a\x1b[200~\x1b[201~", "\xff\xc3", "\x1b[1;5C\x1b", "漢\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var d decoder
		for _, c := range in {
			d.decode(c, func(e event) {
				require.NotContains(t, []rune{paste, fill0, fill1, 26}, e.r)
				require.True(t, e.r != 0 || e.sequence != "", "NUL would end the input")
			})
			require.Less(t, len(d.partial), 64)
		}
	})
}

func TestWords(t *testing.T) {
	const cursor = '|'
	for _, tt := range []struct {
		line string
		key  rune
		want string
	}{
		{"set key:1 val|", keyWordLeft, "set key:1 |val"},
		{"set key:|1 val", keyWordLeft, "set |key:1 val"},
		{"|set", keyWordLeft, "|set"},
		{"set| key:1", keyWordRight, "set key|:1"},
		{"set|", keyWordRight, "set|"},
		{"get ключ значение|", keyWordLeft, "get ключ |значение"},
		{"get 漢字 😀x|", keyWordLeft, "get 漢字 |😀x"},
		{"|get 漢字 x", keyWordRight, "get| 漢字 x"},
		{"get ключ значение|!", keyWordErase, "get ключ |!"},
		{"get| ключ значение", keyWordDelete, "get| значение"},
		{"get a:b|c", keyKillWord, "get |c"},
		{"get ключ  |", keyKillWord, "get |"},
	} {
		line := padded([]rune(tt.line))
		pos := slices.Index(line, cursor)
		line, pos = byWords(slices.Delete(line, pos, pos+1), pos, tt.key)
		got, err := unpadded(string(slices.Insert(slices.Clone(line), pos, cursor)))
		require.NoError(t, err)
		assert.Equal(t, tt.want, got, tt.line)
	}
}
