// Package resp is the door for clients of Redis and Valkey: RESP2 and RESP3 on the connections of a kv server, chosen by the
// first byte of a connection. docs/resp.md says which commands it serves, and where they differ.
//
// From the bottom up: parse.go and inline.go cut what has come into commands, reply.go writes answers; neither knows a
// command. table.go is the one table of commands, which everything that is asked about a command derives from: who may
// use it, what keys it has, how COMMAND and docs/resp.md describe it. Commands on keys are pure functions of a [call]:
// what keys hold goes in, what they are to hold and an answer come out. So the same function serves a command by itself
// and in a transaction, where all the queued ones are one [store.Session.Update]. talk.go is a connection: it runs them
// on a netserver.Client.
package resp
