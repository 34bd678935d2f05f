package text

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestFields(t *testing.T) {
	for _, tt := range []struct{ bytes, field string }{
		{"", ``},
		{"plain words", `plain words`},
		{"café 漢字 😀", `café 漢字 😀`},
		{"tab\tnewline\nreturn\rback\\slash", `tab\tnewline\nreturn\rback\\slash`},
		{`\N`, `\\N`},
		{"\x00\x1b[31m\x7f", `\x00\x1b[31m\x7f`},
		{"caf\xc3", `caf\xc3`},
		{"\xff\xfe", `\xff\xfe`},
		{"\u009b1m", `\xc2\x9b1m`},                       // a control character, though valid UTF-8
		{"a\u200bb\u202e", `a\xe2\x80\x8bb\xe2\x80\xae`}, // invisible, and what turns text around
		{"\u00a0", `\xc2\xa0`},
	} {
		assert.Equal(t, tt.field, string(AppendField(nil, []byte(tt.bytes))))
		back, err := Unescape(nil, []byte(tt.field))
		require.NoError(t, err)
		assert.Equal(t, tt.bytes, string(back))
	}
}

func TestWrongFields(t *testing.T) {
	for field, want := range map[string]string{
		`\`:      `a backslash at the end`,
		`a\`:     `a backslash at the end`,
		`\q`:     `is no escape`,
		`\x`:     `two hexadecimal digits`,
		`\x4`:    `two hexadecimal digits`,
		`\xzz`:   `two hexadecimal digits`,
		`a\N`:    `is no escape`,
		`\Na`:    `is no escape`,
		`\"`:     `is no escape`,
		`\X41`:   `is no escape`,
		`\u0041`: `is no escape`,
	} {
		_, err := Unescape(nil, []byte(field))
		assert.ErrorContains(t, err, want, "%q", field)
	}
	_, err := Unescape(nil, []byte(Null))
	assert.Equal(t, ErrNull, err)
}

func TestRecords(t *testing.T) {
	r := NewReader(strings.NewReader("k\tv\n\t\nkey\tvalue\t1700000000000\nlast\tline"), '\n')
	for i, want := range []Record{
		{Key: []byte("k"), Value: []byte("v")},
		{Key: []byte{}, Value: []byte{}},
		{Key: []byte("key"), Value: []byte("value"), Expiry: 1700000000000},
		{Key: []byte("last"), Value: []byte("line")},
	} {
		got, err := r.Record()
		require.NoError(t, err)
		assert.Equal(t, want, got)
		assert.Equal(t, i+1, r.Line())
	}
	_, err := r.Record()
	assert.Equal(t, io.EOF, err)
}

func TestWrongRecordsAreNamedByLine(t *testing.T) {
	for line, want := range map[string]string{
		"no tab":    "line 2: no TAB",
		"":          "line 2: no TAB",
		`k	\N`:      `line 2: value: \N stands for no value`,
		`\N	v`:      `line 2: key: \N`,
		"k\tv\t":    "is no expiry",
		"k\tv\t0":   "is no expiry",
		"k\tv\t-5":  "is no expiry",
		"k\tv\t5\t": "is no expiry",
		"k\tv\tabc": "is no expiry",
		"k\tdos\r":  "carriage return",
		`k	\x9`:     "two hexadecimal digits",
	} {
		r := NewReader(strings.NewReader("a\t1\n"+line+"\nb\t2\n"), '\n')
		_, err := r.Record()
		require.NoError(t, err)
		_, err = r.Record()
		assert.ErrorContains(t, err, want, "%q", line)
		assert.ErrorContains(t, err, "line 2:")
		got, err := r.Record()
		require.NoError(t, err, "the line after a wrong one can be read")
		assert.Equal(t, "b", string(got.Key))
	}
}

func TestKeys(t *testing.T) {
	r := NewReader(strings.NewReader("a\x00\x00b\\tc"), 0)
	for _, want := range []string{"a", "", "b\tc"} {
		key, err := r.Key()
		require.NoError(t, err)
		assert.Equal(t, want, string(key))
	}
	_, err := r.Key()
	assert.Equal(t, io.EOF, err)
	_, err = NewReader(strings.NewReader("a\tb\n"), '\n').Key()
	assert.ErrorContains(t, err, "line 1: a TAB")
	_, err = NewReader(strings.NewReader("a\r\n"), '\n').Key()
	assert.ErrorContains(t, err, "carriage return")
}

func TestALongLine(t *testing.T) {
	value := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	in := append(Record{Key: []byte("k"), Value: value}.AppendTo(nil), '\n')
	in = append(in, "next\t1\n"...)
	r := NewReader(iotestOneByte{bytes.NewReader(in)}, '\n')
	got, err := r.Record()
	require.NoError(t, err)
	assert.True(t, bytes.Equal(value, got.Value))
	got, err = r.Record()
	require.NoError(t, err)
	assert.Equal(t, "next", string(got.Key))
	assert.EqualValues(t, len(in), r.Bytes())
}

// iotestOneByte reads in small pieces.
type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 777)]) }

func TestJSON(t *testing.T) {
	for _, tt := range []struct{ bytes, json string }{
		{"", `""`},
		{"plain <&> words", `"plain <&> words"`},
		{"caf\u00e9 😀", `"café 😀"`},
		{"\"\\\t\n\r", `"\"\\\t\n\r"`},
		{"\x00\x7f\u009b\u2028", `"\u0000\u007f\u009b\u2028"`},
		{"\U000e0001", `"\udb40\udc01"`},
		{"\xff\x00", `{"base64":"/wA="}`},
	} {
		assert.Equal(t, tt.json, string(AppendJSON(nil, []byte(tt.bytes))))
		r, err := ParseJSONRecord([]byte(`{"key":` + tt.json + `,"value":` + tt.json + `}`))
		require.NoError(t, err)
		assert.Equal(t, tt.bytes, string(r.Key))
		assert.Equal(t, tt.bytes, string(r.Value))
	}
}

func TestJSONRecords(t *testing.T) {
	for _, tt := range []struct {
		line string
		want Record
	}{
		{`{"key":"k","value":"v","version":7,"expiry":null}`, Record{Key: []byte("k"), Value: []byte("v")}},
		{`{"key":"k","value":"v","version":7,"expiry":1700000000000}`, Record{Key: []byte("k"), Value: []byte("v"), Expiry: 1700000000000}},
		{` { "value" : {"base64":""}, "other": [1,{}], "key" : "" } `, Record{Key: []byte{}, Value: []byte{}}},
		{`{"key":"k","value":"\ud83d\ude00\u0000"}`, Record{Key: []byte("k"), Value: []byte("😀\x00")}},
		{`{"key":"k","value":"\\ud83d"}`, Record{Key: []byte("k"), Value: []byte(`\ud83d`)}},
	} {
		got, err := ParseJSONRecord([]byte(tt.line))
		require.NoError(t, err, tt.line)
		assert.Equal(t, tt.want, got, tt.line)
	}
	for line, want := range map[string]string{
		``:                                    "not a JSON object",
		`[]`:                                  "not a JSON object",
		`{}`:                                  `no "key"`,
		`{"key":"k"}`:                         `no "value"`,
		`{"key":"k","value":null}`:            `no "value"`,
		`{"key":"k","value":5}`:               "neither a string nor",
		`{"key":"k","value":{"base64":"?"}}`:  "neither a string nor",
		`{"key":"k","value":"\ud83d"}`:        "half a surrogate pair",
		`{"key":"k","value":"\ude00\ud83d"}`:  "half a surrogate pair",
		"{\"key\":\"k\",\"value\":\"\xff\"}":  "not UTF-8",
		`{"key":"k","value":"v","expiry":-1}`: "not a JSON object",
		`{"key":"k","value":"v"} trailing`:    "not a JSON object",
	} {
		_, err := ParseJSONRecord([]byte(line))
		assert.ErrorContains(t, err, want, line)
	}
}

func anyRecord() *rapid.Generator[Record] {
	return rapid.Custom(func(t *rapid.T) Record {
		b := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }))
		r := Record{Key: b.Draw(t, "key"), Value: b.Draw(t, "value")}
		if rapid.Bool().Draw(t, "expires") {
			r.Expiry = rapid.Uint64Min(1).Draw(t, "expiry")
		}
		return r
	})
}

func TestAnyBytesComeThrough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(anyRecord(), 1, 20).Draw(t, "records")
		end := rapid.SampledFrom([]byte{'\n', 0}).Draw(t, "end")
		var plain, jsonLines []byte
		for _, r := range records {
			plain = append(r.AppendTo(plain), end)
			jsonLines = append(r.AppendJSONTo(jsonLines, 1), '\n')
		}
		assertPrintable(t, bytes.Map(func(r rune) rune {
			if r == rune(end) || r == '\t' {
				return 'x'
			}
			return r
		}, plain))
		read(t, NewReader(bytes.NewReader(plain), end), (*Reader).Record, records)
		read(t, NewReader(bytes.NewReader(jsonLines), '\n'), (*Reader).JSONRecord, records)
	})
}

func read(t *rapid.T, r *Reader, next func(*Reader) (Record, error), want []Record) {
	for _, w := range want {
		got, err := next(r)
		require.NoError(t, err)
		require.Equal(t, string(w.Key), string(got.Key))
		require.Equal(t, string(w.Value), string(got.Value))
		require.Equal(t, w.Expiry, got.Expiry)
	}
	_, err := next(r)
	require.Equal(t, io.EOF, err)
}

func assertPrintable(t require.TestingT, b []byte) {
	require.True(t, Printable(b), "a terminal might act on %q", b)
}

func FuzzUnescape(f *testing.F) {
	for _, s := range []string{`a\tb`, `\N`, `\x00`, `\xff\`, "raw \xff\x00 bytes", `\\N`, "é\u202e"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, field []byte) {
		b, err := Unescape(nil, field)
		if err != nil {
			return
		}
		escaped := AppendField(nil, b)
		assertPrintable(t, escaped)
		again, err := Unescape(nil, escaped)
		require.NoError(t, err)
		require.True(t, bytes.Equal(b, again))
	})
}

func FuzzRecords(f *testing.F) {
	for _, s := range []string{"k\tv\n", "k\tv\t5\nx", `{"key":"k","value":{"base64":"/w=="}}`, "\\N\t\n\n\t\t\n", "{\"key\":\"\\ud800\"}",
		`{"key":"a","value":"b","version":5,"expiry":null}`, `{"key":"a","value":"b","version":5,"expiry":7}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, end := range []byte{'\n', 0} {
			r := NewReader(bytes.NewReader(in), end)
			for {
				rec, err := r.Record()
				if err == io.EOF {
					break
				}
				if err != nil {
					require.ErrorContains(t, err, "line ")
					continue
				}
				again, err := ParseRecord(rec.AppendTo(nil))
				require.NoError(t, err)
				require.True(t, bytes.Equal(rec.Key, again.Key) && bytes.Equal(rec.Value, again.Value) && rec.Expiry == again.Expiry)
			}
		}
		if own, ok := parseOwnJSON(in); ok {
			rec, err := parseAnyJSON(in)
			require.NoError(t, err)
			require.Equal(t, rec, own)
		}
		if rec, err := ParseJSONRecord(in); err == nil {
			again, err := ParseJSONRecord(rec.AppendJSONTo(nil, 0))
			require.NoError(t, err)
			require.True(t, bytes.Equal(rec.Key, again.Key) && bytes.Equal(rec.Value, again.Value) && rec.Expiry == again.Expiry)
		}
	})
}
