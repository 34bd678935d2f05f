package text

import (
	"bytes"
	"errors"
)

// What is read as text is UTF-8 without a byte order mark, whatever it is: records, lists of keys, JSON, scripts, secrets.
// Other programs' marks are not skipped but refused: who skips one here and there has keys that begin with one elsewhere.
var (
	// ErrByteOrderMark is the error of a line that begins with one.
	ErrByteOrderMark = errors.New(`the text begins with a byte order mark (the bytes EF BB BF): save it as UTF-8 without one`)
	// ErrNotUTF8 is the error of a text in UTF-16 or UTF-32. No line of it makes sense.
	ErrNotUTF8 = errors.New(`the text is UTF-16 or UTF-32, not UTF-8: convert it, as with iconv -f UTF-16 -t UTF-8`)
)

// CheckLine refuses a line that begins with a byte order mark.
func CheckLine(line []byte) error {
	if bytes.HasPrefix(line, []byte("\xef\xbb\xbf")) {
		return ErrByteOrderMark
	}
	return nil
}

// CheckFirstLine refuses a text whose first line this is, if it is UTF-16 or UTF-32: it begins with their byte order mark, or
// with two letters that only they write so. Lines end with the byte end.
func CheckFirstLine(line []byte, end byte) error {
	if bytes.HasPrefix(line, []byte("\xff\xfe")) || bytes.HasPrefix(line, []byte("\xfe\xff")) ||
		bytes.HasPrefix(line, []byte("\x00\x00\xfe\xff")) {
		return ErrNotUTF8
	}
	if len(line) < 4 || end == 0 {
		return nil
	}
	little := line[0] != 0 && line[1] == 0 && line[2] != 0 && line[3] == 0
	big := line[0] == 0 && line[1] != 0 && line[2] == 0 && line[3] != 0
	if little || big {
		return ErrNotUTF8
	}
	return nil
}
