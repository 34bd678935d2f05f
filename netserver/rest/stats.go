package rest

import (
	"kv/protocol/jsonform"
)

// stats answers the figures of STATS.
func (x *exchange) stats() (*answer, error) {
	figures := x.client.Stats()
	return answerJSON(func(out *output) error {
		for i, f := range figures {
			if i == 0 {
				out.text("{")
			} else {
				out.text(",\n")
			}
			out.buf = jsonform.AppendBytes(out.buf, []byte(f.Name))
			out.text(":")
			out.number(f.Value)
		}
		out.text("}\n")
		return nil
	}), nil
}
