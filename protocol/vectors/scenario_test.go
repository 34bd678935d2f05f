package vectors

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol"
)

// canned is a connection on which a server says what was prepared, whatever it is asked.
type canned struct {
	io.Reader
	sent bytes.Buffer
}

func (c *canned) Write(p []byte) (int, error) { return c.sent.Write(p) }

func TestRun(t *testing.T) {
	const text = `
# a comment
scenario one
option history 3
exchange capture       # another
> 0000000a 08 00 0000 00000001  61
    62
< <length> 08 00 0000 00000001  <v:2>
exchange recall
> <length> 08 00 0000 00000002  <=v> 00*3
> 00000008 08 00 0000 00000003
< 0000000d 08 00 0000 00000002  <=v> 00*3
< <length> 08 08 0000 00000003  <text>
< close
`
	scenarios, err := Parse(text)
	require.NoError(t, err)
	require.Len(t, scenarios, 1)
	s := scenarios[0]
	assert.Equal(t, "one", s.Name)
	assert.Equal(t, map[string]string{"history": "3"}, s.Options)

	first := protocol.AppendResponse(nil, protocol.OpPing, 0, 1, []byte("ab"))
	second := protocol.AppendResponse(nil, protocol.OpPing, 0, 2, []byte("ab\x00\x00\x00"))
	third := protocol.AppendResponse(nil, protocol.OpPing, 8, 3, []byte("what"))
	conn := &canned{Reader: io.MultiReader(bytes.NewReader(first), bytes.NewReader(second), bytes.NewReader(third))}
	require.NoError(t, s.Run(conn))
	assert.Equal(t, string(first)+string(second)+"\x00\x00\x00\x08\x08\x00\x00\x00\x00\x00\x00\x03", conn.sent.String())

	for name, replies := range map[string][][]byte{
		"nothing":                {},
		"cut":                    {first[:13]},
		"other bytes than kept":  {first, protocol.AppendResponse(nil, protocol.OpPing, 0, 2, []byte("xx\x00\x00\x00"))},
		"no text":                {first, second, protocol.AppendResponse(nil, protocol.OpPing, 8, 3, []byte("\xff"))},
		"another id":             {first, protocol.AppendResponse(nil, protocol.OpPing, 0, 3, []byte("ab\x00\x00\x00"))},
		"too long":               {protocol.AppendResponse(nil, protocol.OpPing, 0, 1, []byte("abc"))},
		"not closed":             {first, second, third, []byte{0}},
		"not a frame":            {{0, 0, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0}},
		"a shorter frame inside": {protocol.AppendResponse(nil, protocol.OpPing, 0, 1, []byte("a"))},
	} {
		err := s.Run(&canned{Reader: bytes.NewReader(bytes.Join(replies, nil))})
		assert.Error(t, err, name)
	}
}

func TestPlaceholders(t *testing.T) {
	now := uint64(time.Now().UnixMilli())
	match := func(frame string, body []byte) error {
		f, err := parseFrame("<length> 07 00 0000 00000000 " + frame)
		require.NoError(t, err)
		return f.Match(protocol.AppendResponse(nil, protocol.OpStats, 0, 0, body), Captures{})
	}
	stats := protocol.AppendStats(nil, 0, []protocol.Stat{{Name: "b", Value: 2}, {Name: "a", Value: 1}})[protocol.HeaderSize:]
	assert.NoError(t, match("<stats a=1 b=2>", stats))
	assert.NoError(t, match("<stats a=1>", stats))
	assert.ErrorContains(t, match("<stats a=2>", stats), "a is 1, not 2")
	assert.ErrorContains(t, match("<stats c=2>", stats), "c is missing")

	ahead := protocol.AppendMeta(nil, protocol.Meta{Version: now + 900})[:8]
	assert.NoError(t, match("<within:1000>", ahead))
	assert.Error(t, match("<within:10>", ahead))
	assert.Error(t, match("<within:1000>", make([]byte, 8)))

	assert.NoError(t, match("<cursor:c> <=c> <rest>", []byte{0, 1, 9, 0, 1, 9, 5, 5}))
	assert.Error(t, match("<cursor:c>", []byte{0, 2, 9}))
	assert.NoError(t, match("<_:1> <_:1>", []byte{1, 2}))
	assert.Error(t, match("<x:1> <=x>", []byte{1, 2}))
	assert.Error(t, match("<=x>", []byte{1}))
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"exchange x", "option a b", "> 00", "scenario s\n> 00", "scenario s\nexchange x\n? 00", "scenario s\nexchange x\n> 0",
		"scenario s\nexchange x\n> zz", "scenario s\nexchange x\n>", "scenario s\nexchange x\n< <v", "scenario s\nexchange x\n< <v>",
		"scenario s\nexchange x\n< <v:0>", "scenario s\nexchange x\n< 00*x", "scenario s\nexchange x\n< <stats a>",
	} {
		_, err := Parse(text)
		assert.Error(t, err, text)
	}
	_, err := Load("no such file")
	assert.Error(t, err)
}
