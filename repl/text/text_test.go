package text

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol/printable"
	"pgregory.net/rapid"

	"kv/protocol/jsonform"
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
		assert.Equal(t, tt.json, string(jsonform.AppendBytes(nil, []byte(tt.bytes))))
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
		{`{"key":"k","value":"v","version":7,"expiry":1700000000000}`,
			Record{Key: []byte("k"), Value: []byte("v"), Expiry: 1700000000000}},
		{` { "value" : { "base64" : "" }, "version": null, "key" : "" } `, Record{Key: []byte{}, Value: []byte{}}},
		{`{"key":"k","value":{"base64":"/w=="},"expiry":18446744073709551615}`,
			Record{Key: []byte("k"), Value: []byte{0xff}, Expiry: 1<<64 - 1}},
		{`{"\u006bey":"k","value":"v"}`, Record{Key: []byte("k"), Value: []byte("v")}},
		{`{"key":"k","value":"\ud83d\ude00\u0000"}`, Record{Key: []byte("k"), Value: []byte("😀\x00")}},
		{`{"key":"k","value":"\\ud83d"}`, Record{Key: []byte("k"), Value: []byte(`\ud83d`)}},
	} {
		got, err := ParseJSONRecord([]byte(tt.line))
		require.NoError(t, err, tt.line)
		assert.Equal(t, tt.want, got, tt.line)
	}
	for line, want := range map[string]string{
		``:                                  "the document ends where an object is wanted",
		`5`:                                 "an object is wanted, not '5'",
		`"key"`:                             "an object is wanted",
		`null`:                              "an object is wanted",
		`[]`:                                "an object is wanted",
		`{`:                                 "the document ends",
		`{"key":"k","value":"v"`:            "the document ends",
		`{"key":"k","value":"v`:             "value: a string that does not end",
		`{"key":"k" "value":"v"}`:           `a comma or } is wanted, not '"' (byte 11)`,
		`{"key":"k","value":"v",}`:          "a string is wanted, not '}'",
		`{key:"k"}`:                         "a string is wanted, not 'k'",
		`{"key":"k","value":"\x"}`:          "value: no such escape",
		`{"Key":"k","value":"v"}`:           `"Key" is written "key"`,
		`{"key":"k","VALUE":"v"}`:           `"VALUE" is written "value"`,
		`{"key":"k","value":"v","ttl":5}`:   `no member is called "ttl": there are key, value, version, expiry`,
		`{"key":"a","value":"v","key":"b"}`: `"key" is there twice`,
		`{"key":"a","value":"v","expiry":null,"expiry":5}`:      `"expiry" is there twice`,
		`{"key":"k","value":{"Base64":"/w=="}}`:                 `value: "Base64" is written "base64"`,
		`{"key":"k","value":{"base64":"/w==","base64":"/w=="}}`: `value: "base64" is there twice`,
		`{"key":"k","value":{"base64":"/w==","hex":"ff"}}`:      `"hex": there are base64`,
		`{"key":"k","value":{"base64":null}}`:                   "value.base64: a string is wanted",
		`{"key":"k","value":{"base64":[255]}}`:                  "value.base64: a string is wanted",
		`{"key":{},"value":""}`:                                 `key: neither a string nor`,
		`{"key":["k"],"value":""}`:                              `key: a string or`,
		`{"key":null,"value":""}`:                               `key: a string or`,
		`{"key":"k","value":{"base64":"/x=="}}`:                 "not base64", // bits that mean nothing
		`{"key":"k","value":{"base64":"/w=\n="}}`:               "not base64",
		`{"key":"k","value":{"base64":"?"}}`:                    "not base64",
		`{"key":"k","value":"v","expiry":0}`:                    `expiry: a time in Unix milliseconds, or null, is wanted, not 0`,
		`{"key":"k","value":"v","expiry":"5"}`:                  `expiry: a whole number`,
		`{"key":"k","value":"v","expiry":1e3}`:                  `not 1e3`,
		`{"key":"k","value":"v","expiry":18446744073709551616}`: `not 18446744073709551616`,
		`{"key":"k","value":"v","expiry":-1}`:                   `not -1`,
		`{"key":"k","value":"v","version":"7"}`:                 `version: a whole number`,
		`{"key":"k","value":"v"}{"key":"k","value":"v"}`:        "something stands behind the document (byte 23)",
		`{"key":"k","value":"v"} trailing`:                      "something stands behind the document",
		"{\"key\":\"k\",\"value\":\"a\nb\"}":                    "value: a control character",
		"\xef\xbb\xbf{\"key\":\"k\",\"value\":\"v\"}":           "an object is wanted",
		`{}`:                                 `"key" is missing`,
		`{"key":"k"}`:                        `"value" is missing`,
		`{"key":"k","value":null}`:           `value: a string or`,
		`{"key":"k","value":5}`:              "value: a string or",
		`{"key":"k","value":"\ud83d"}`:       "half a surrogate pair",
		`{"key":"k","value":"\ude00\ud83d"}`: "half a surrogate pair",
		"{\"key\":\"k\",\"value\":\"\xff\"}": "not UTF-8",
	} {
		_, err := ParseJSONRecord([]byte(line))
		assert.ErrorContains(t, err, want, line)
		for _, leak := range []string{"json:", "unmarshal", "Go ", "struct", "invalid character", "EOF", "illegal base64"} {
			assert.NotContains(t, err.Error(), leak, line)
		}
	}
}

// A text that is not UTF-8, or begins with a byte order mark, is refused however it is read.
func TestEncodings(t *testing.T) {
	wide := func(s string, order binary.AppendByteOrder) (b []byte) {
		for _, u := range utf16.Encode([]rune(s)) {
			b = order.AppendUint16(b, u)
		}
		return b
	}
	const bom = "\ufeff"
	for _, form := range []struct {
		text string
		next func(*Reader) error
	}{
		{"key\tvalue\n", func(r *Reader) error { _, err := r.Record(); return err }},
		{"key\n", func(r *Reader) error { _, err := r.Key(); return err }},
		{`{"key":"k","value":"v"}`, func(r *Reader) error { _, err := r.JSONRecord(); return err }},
	} {
		for _, end := range []byte{'\n', 0} {
			try := func(b []byte) error {
				if end == 0 {
					b = bytes.ReplaceAll(b, []byte("\n"), []byte{0})
				}
				return form.next(NewReader(bytes.NewReader(b), end))
			}
			require.NoError(t, try([]byte(form.text)))
			var syntax *SyntaxError
			err := try([]byte(bom + form.text))
			require.ErrorIs(t, err, ErrByteOrderMark)
			require.ErrorAs(t, err, &syntax)
			require.Equal(t, 1, syntax.Line)
			for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
				require.Equal(t, ErrNotUTF8, try(wide(bom+form.text, order)))
				if end == '\n' {
					require.Equal(t, ErrNotUTF8, try(wide(form.text, order)))
				}
			}
			require.Equal(t, ErrNotUTF8, try([]byte("\xff\xfe\x00\x00k\x00\x00\x00")), "UTF-32")
			if end == '\n' {
				require.Equal(t, ErrNotUTF8, try([]byte("\x00\x00\xfe\xff\x00\x00\x00k")), "UTF-32")
			}
		}
	}
	// A second file behind the first brings its mark into the middle.
	r := NewReader(strings.NewReader("a\n"+bom+"b\nc\n"), '\n')
	for i, want := range []error{nil, ErrByteOrderMark, nil} {
		_, err := r.Key()
		require.ErrorIs(t, err, want, i)
	}
	// What begins like a wide letter is none where NUL ends a line, and any bytes are written escaped.
	_, err := NewReader(strings.NewReader("a\x00b\x00"), 0).Key()
	require.NoError(t, err)
	key, err := NewReader(strings.NewReader(`\xef\xbb\xbfb`), '\n').Key()
	require.NoError(t, err)
	require.Equal(t, bom+"b", string(key))
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
	require.True(t, printable.Is(b), "a terminal might act on %q", b)
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
	for _, s := range []string{"k\tv\n", "k\tv\t5\nx", `{"key":"k","value":{"base64":"/w=="}}`, "\\N\t\n\n\t\t\n",
		"{\"key\":\"\\ud800\"}",
		`{"key":"a","value":"b","version":5,"expiry":null}`, `{"key":"a","value":"b","version":5,"expiry":7}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, end := range []byte{'\n', 0} {
			r := NewReader(bytes.NewReader(in), end)
			for {
				rec, err := r.Record()
				if err == io.EOF || err == ErrNotUTF8 {
					break
				}
				if err != nil {
					require.ErrorContains(t, err, "line ")
					continue
				}
				again, err := ParseRecord(rec.AppendTo(nil))
				require.NoError(t, err)
				require.True(t, bytes.Equal(rec.Key, again.Key) && bytes.Equal(rec.Value, again.Value) &&
					rec.Expiry == again.Expiry)
			}
		}
		if rec, err := ParseJSONRecord(in); err == nil {
			again, err := ParseJSONRecord(rec.AppendJSONTo(nil, 0))
			require.NoError(t, err)
			require.True(t, bytes.Equal(rec.Key, again.Key) && bytes.Equal(rec.Value, again.Value) && rec.Expiry == again.Expiry)
		}
	})
}
