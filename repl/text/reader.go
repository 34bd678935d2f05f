package text

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// MaxRecord is the longest record that a Reader takes, in bytes: more than any frame holds, escaped.
const MaxRecord = 4 << 28

// Record is a key with its value and when that expires.
type Record struct {
	Key, Value []byte
	Expiry     uint64 // Unix milliseconds; 0: none
}

// AppendTo appends r as a line without its terminator: key TAB value, and TAB expiry where there is one.
func (r Record) AppendTo(dst []byte) []byte {
	dst = AppendField(dst, r.Key)
	dst = append(dst, '\t')
	dst = AppendField(dst, r.Value)
	if r.Expiry != 0 {
		dst = append(dst, '\t')
		dst = strconv.AppendUint(dst, r.Expiry, 10)
	}
	return dst
}

// SyntaxError says which line of the input is wrong, and why.
type SyntaxError struct {
	Line int // counted from 1
	Err  error
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *SyntaxError) Unwrap() error { return e.Err }

// Reader reads records, one a line. The last line may lack its terminator.
type Reader struct {
	in   *bufio.Reader
	end  byte
	line int
	long []byte // a line longer than the buffer of in
	size int64
}

// NewReader reads from in lines that end with the byte end: '\n', or 0.
func NewReader(in io.Reader, end byte) *Reader {
	return &Reader{in: bufio.NewReaderSize(in, 256<<10), end: end}
}

// Line is the number of the line that was read last, counted from 1.
func (r *Reader) Line() int { return r.line }

// Bytes is how much was read, in bytes.
func (r *Reader) Bytes() int64 { return r.size }

// Next returns the next line without its terminator, valid until the next call, or io.EOF. Its error is a *SyntaxError
// when the line is too long or begins with a byte order mark, ErrNotUTF8, or else that of the input.
func (r *Reader) Next() ([]byte, error) {
	line, err := r.in.ReadSlice(r.end)
	if err == bufio.ErrBufferFull {
		r.long = append(r.long[:0], line...)
		for err == bufio.ErrBufferFull {
			line, err = r.in.ReadSlice(r.end)
			if len(r.long) <= MaxRecord {
				r.long = append(r.long, line...)
			}
		}
		if line = r.long; len(line) > MaxRecord {
			r.line++
			r.long = nil
			return nil, &SyntaxError{r.line, fmt.Errorf("the record is longer than %d bytes", MaxRecord)}
		}
	}
	if err != nil && (err != io.EOF || len(line) == 0) {
		return nil, err
	}
	if r.line == 0 {
		if err := CheckFirstLine(line, r.end); err != nil {
			return nil, err
		}
	}
	r.line++
	r.size += int64(len(line))
	if err := CheckLine(line); err != nil {
		return nil, &SyntaxError{r.line, err}
	}
	return bytes.TrimSuffix(line, []byte{r.end}), nil
}

// Record reads the next record. It takes memory of its own, so the caller may keep it. After a *SyntaxError the next
// call goes on with the next line.
func (r *Reader) Record() (Record, error) {
	line, err := r.Next()
	if err != nil {
		return Record{}, err
	}
	rec, err := ParseRecord(line)
	if err != nil {
		return Record{}, &SyntaxError{r.line, err}
	}
	return rec, nil
}

// Key reads the next line as a key.
func (r *Reader) Key() ([]byte, error) {
	line, err := r.Next()
	if err != nil {
		return nil, err
	}
	key, err := parseKey(line)
	if err != nil {
		return nil, &SyntaxError{r.line, err}
	}
	return key, nil
}

// ParseRecord reads a line without its terminator.
func ParseRecord(line []byte) (Record, error) {
	k, rest, ok := bytes.Cut(line, []byte{'\t'})
	if !ok {
		return Record{}, errors.New("no TAB: a line is key TAB value")
	}
	v, expiry, three := bytes.Cut(rest, []byte{'\t'})
	var rec Record
	if three {
		var err error
		if rec.Expiry, err = parseExpiry(expiry); err != nil {
			return Record{}, err
		}
	} else if bytes.HasSuffix(v, []byte{'\r'}) {
		return Record{}, errCarriageReturn
	}
	// One allocation holds both: unescaping never makes a field longer.
	buf, err := Unescape(make([]byte, 0, len(k)+len(v)), k)
	if err != nil {
		return Record{}, fmt.Errorf("key: %w", err)
	}
	n := len(buf)
	value, err := Unescape(buf[n:n], v)
	if err != nil {
		return Record{}, fmt.Errorf("value: %w", err)
	}
	rec.Key, rec.Value = buf[:n:n], value
	return rec, nil
}

var errCarriageReturn = errors.New(`it ends with a carriage return: write \r if that belongs to it, or convert the line ends`)

func parseExpiry(b []byte) (uint64, error) {
	ms, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil || ms == 0 {
		return 0, fmt.Errorf("%q is no expiry: the third field is a time in Unix milliseconds", shown(b, 40))
	}
	return ms, nil
}

func parseKey(line []byte) ([]byte, error) {
	if bytes.IndexByte(line, '\t') >= 0 {
		return nil, errors.New(`a TAB in it: a line is one key, where \t stands for a TAB`)
	}
	if bytes.HasSuffix(line, []byte{'\r'}) {
		return nil, errCarriageReturn
	}
	return Unescape(make([]byte, 0, len(line)), line)
}
