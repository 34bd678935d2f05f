package rest

import (
	"math"
	"time"

	"kv/protocol/jsonform"
)

// history answers the kept versions of a key, newest first.
func (x *exchange) history() (*answer, error) {
	limit, err := x.limit(math.MaxInt32)
	if err != nil {
		return nil, err
	}
	revisions := x.client.Session().History(nil, x.key, limit)
	if len(revisions) == 0 {
		return nil, notFound()
	}
	held := int64(0)
	for _, r := range revisions {
		held += heldBy(r.Entry)
	}
	if err := x.holdJSON(held); err != nil {
		return nil, err
	}
	return answerJSON(func(out *output) error {
		out.text(`{"versions":[`)
		for i, r := range revisions {
			if i > 0 {
				out.text(",\n")
			}
			out.text(`{"key":`)
			out.bytes(x.key)
			if out.text(`,"value":`); r.Entry.Deleted() {
				out.text("null")
			} else {
				out.bytes(r.Entry.Value())
			}
			out.text(`,"version":`)
			out.number(r.Entry.Version())
			out.text(`,"time":"`)
			out.buf = time.UnixMicro(int64(r.Time)).UTC().AppendFormat(out.buf, "2006-01-02T15:04:05.000000Z07:00")
			out.text(`"}`)
		}
		out.text("]}\n")
		return nil
	}), nil
}

// rollback gives a key a new version that equals a kept one.
func (x *exchange) rollback() (*answer, error) {
	var key []byte
	var to uint64
	err := x.document(func(in *jsonform.Scanner) error {
		return object(in, []string{"key", "version"}, 2, func(i int) (err error) {
			if i == 0 {
				key, err = in.Bytes()
			} else {
				to, err = in.Uint()
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	version, err := x.client.Session().Rollback(key, to)
	if err != nil {
		return nil, err
	}
	return versionAlone(version), nil
}
