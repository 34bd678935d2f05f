// Package protocol is the kv wire protocol, version 1: frames, opcodes, bodies, statuses and the errors they become.
//
// It does no input or output. Encoders append one whole frame to a byte slice; parsers take the body of one frame and
// return views into it, so neither side allocates for the bytes of a key or a value. A parser never trusts a count or a
// length: it compares each with the bytes that are there before it allocates anything.
//
// docs/protocol.md is the specification; its examples are the vectors in testdata.
package protocol
