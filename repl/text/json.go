package text

import (
	"bytes"

	"kv/protocol/jsonform"
)

// AppendJSONTo appends r as one JSON object on one line, without its terminator; version too.
func (r Record) AppendJSONTo(dst []byte, version uint64) []byte {
	return jsonform.AppendRecord(dst, r.Key, r.Value, version, r.Expiry)
}

// members are those of a record in JSON; the first two must be there.
var members = []string{"key", "value", "version", "expiry"}

// ParseJSONRecord reads a line of JSON Lines: an object with "key", "value" and, where it expires, "expiry", as AppendJSONTo
// writes it. A "version" may be there too, and means nothing; any other member is refused, and so is one that is there twice.
func ParseJSONRecord(line []byte) (rec Record, err error) {
	in := jsonform.NewScanner(bytes.Clone(line)) // the record's own, in which it is read
	there, err := in.Object(members, func(i int) (err error) {
		switch members[i] {
		case "key":
			rec.Key, err = in.Bytes()
		case "value":
			rec.Value, err = in.Bytes()
		case "version":
			if !in.Null() {
				_, err = in.Uint()
			}
		case "expiry":
			if in.Null() {
				break
			}
			if rec.Expiry, err = in.Uint(); err == nil && rec.Expiry == 0 {
				err = in.Fail("a time in Unix milliseconds, or null, is wanted, not 0")
			}
		}
		return err
	})
	if err != nil {
		return Record{}, err
	}
	for i, name := range members[:2] {
		if there&(1<<i) == 0 {
			return Record{}, in.Fail("%q is missing", name)
		}
	}
	return rec, in.End()
}

// JSONRecord reads the next line as ParseJSONRecord does. After a *SyntaxError the next call goes on with the next line.
func (r *Reader) JSONRecord() (Record, error) {
	line, err := r.Next()
	if err != nil {
		return Record{}, err
	}
	rec, err := ParseJSONRecord(line)
	if err != nil {
		return Record{}, &SyntaxError{r.line, err}
	}
	return rec, nil
}
