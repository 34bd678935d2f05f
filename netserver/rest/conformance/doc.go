// Package conformance calls every operation of the HTTP API and has a validator compare requests and answers with the
// API's OpenAPI document. It has tests only.
package conformance
