package rest

import (
	_ "embed"
	"net/http"
)

//go:embed openapi.json
var description []byte

// openAPI answers the description of all this for programs, an OpenAPI 3.1 document.
func (x *exchange) openAPI() (*answer, error) {
	h := http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-cache"}}
	return &answer{status: http.StatusOK, header: h, body: description}, nil
}
