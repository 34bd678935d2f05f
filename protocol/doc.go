// Package protocol is the kv wire protocol, version 1: frames, opcodes, bodies, statuses and the errors they become.
//
// It does no input or output. Encoders append one whole frame to a byte slice; parsers take the body of one frame and
// return views into it, so neither side allocates for the bytes of a key or a value. A parser never trusts a count or a
// length: it compares each with the bytes that are there before it allocates anything.
//
// Every request has a struct, or a function, that appends its whole frame and a parser of its body; the answer to it,
// too, in the same file. Of an answer that may be long there are the pieces besides, as a server appends them that does
// not copy values: first the head, with the length that the sizes of its pieces come to, then what stands before each
// value.
//
// docs/protocol.md is the specification; its examples are the vectors in testdata.
package protocol
