package repl

import (
	"strconv"
	"time"

	"kv/protocol"
	"kv/repl/text"
)

// jsonStats prints figures as a flat JSON object, with a time unless that is zero.
func (s *session) jsonStats(at time.Time, stats []protocol.Stat) {
	b := append(s.scratch[:0], '{')
	if !at.IsZero() {
		b = append(b, `"time":"`...)
		b = append(at.UTC().AppendFormat(b, time.RFC3339), `",`...)
	}
	for i, st := range stats {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(text.AppendJSON(b, []byte(st.Name)), ':')
		b = strconv.AppendUint(b, st.Value, 10)
	}
	s.scratch = append(b, "}\n"...)
	s.out.Write(s.scratch)
}
