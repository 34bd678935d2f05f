package protocol_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"kv/protocol"
)

func TestAnErrorNamesItsStatusOnce(t *testing.T) {
	for message, want := range map[string]string{
		"":                      "out of memory",
		"out of memory":         "out of memory",
		"out of memory: 5 MiB":  "out of memory: 5 MiB",
		"out of memory, really": "out of memory: out of memory, really",
		"no room":               "out of memory: no room",
	} {
		err := &protocol.Error{Status: protocol.StatusOutOfMemory, Message: message}
		assert.EqualError(t, err, want)
	}
}
