package rest

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDescriptionIsComplete: the document has exactly the operations that there are, each with its parameters and
// headers. (That they are as it says, conformance shows.)
func TestDescriptionIsComplete(t *testing.T) {
	type parameter struct {
		Ref  string `json:"$ref"`
		Name string
		In   string
	}
	var doc struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct{ Parameters map[string]parameter }
	}
	require.NoError(t, json.Unmarshal(description, &doc))
	names := func(raw json.RawMessage) (query, header []string) {
		var all []parameter
		if raw != nil {
			require.NoError(t, json.Unmarshal(raw, &all))
		}
		for _, p := range all {
			if p.Ref != "" {
				p = doc.Components.Parameters[strings.TrimPrefix(p.Ref, "#/components/parameters/")]
			}
			switch p.In {
			case "query":
				query = append(query, p.Name)
			case "header":
				header = append(header, p.Name)
			}
		}
		return query, header
	}
	described := 0
	for name, r := range resources {
		path := "/v1/" + name
		if r.keyed {
			path += "{key}"
		}
		common, _ := names(doc.Paths[path]["parameters"])
		for method, op := range r.operations {
			methods := []string{method}
			if method == http.MethodGet && name == "keys/" { // elsewhere HEAD is not worth a word
				methods = append(methods, http.MethodHead)
			}
			for _, method := range methods {
				raw := doc.Paths[path][strings.ToLower(method)]
				require.NotNil(t, raw, "%s %s is not described", method, path)
				described++
				var o struct{ Parameters json.RawMessage }
				require.NoError(t, json.Unmarshal(raw, &o))
				query, header := names(o.Parameters)
				require.ElementsMatch(t, op.query, append(query, common...), "%s %s", method, path)
				require.ElementsMatch(t, op.header, header, "%s %s", method, path)
			}
		}
	}
	for _, methods := range doc.Paths {
		for method := range methods {
			if method != "parameters" {
				described--
			}
		}
	}
	require.Zero(t, described, "operations are described that there are not")
}
