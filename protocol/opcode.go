package protocol

import "fmt"

// Version is the protocol version that this package speaks, as HELLO carries it.
const Version = 1

// Opcode says what a request asks for. A response carries its request's opcode.
type Opcode uint8

// The opcodes of version 1. The numbers are frozen.
const (
	OpGet      Opcode = 0x01
	OpSet      Opcode = 0x02
	OpDel      Opcode = 0x03
	OpMGet     Opcode = 0x04
	OpMSet     Opcode = 0x05
	OpTxn      Opcode = 0x06
	OpStats    Opcode = 0x07
	OpPing     Opcode = 0x08
	OpHello    Opcode = 0x09
	OpScan     Opcode = 0x0a
	OpHistory  Opcode = 0x0b
	OpRollback Opcode = 0x0c
	opWatch    Opcode = 0x0d // reserved; answered UNKNOWN_OPCODE
	OpSnapshot Opcode = 0x0e
	OpBackup   Opcode = 0x0f
	OpCluster  Opcode = 0x10
	OpReads    Opcode = 0x11
	OpMember   Opcode = 0x12
	OpPurge    Opcode = 0x13
	OpIncr     Opcode = 0x14
	OpExpire   Opcode = 0x15
	OpPersist  Opcode = 0x16
)

// Request flags. A flag that its opcode does not know is BAD_REQUEST.
const (
	FlagWithMeta  uint8 = 0x01 // GET, MGET, TXN, SCAN: version and expiry come with each value
	FlagAtVersion uint8 = 0x02 // GET: a kept version, not the current one

	FlagIfVersion uint8 = 0x01 // SET, INCR, EXPIRE, PERSIST: only if the key's version is this one; 0 = only if absent
	FlagTTL       uint8 = 0x02 // SET, INCR, EXPIRE: expire after so many milliseconds
	FlagExpireAt  uint8 = 0x04 // SET, INCR, EXPIRE: expire at this time

	FlagWithValues uint8 = 0x02 // SCAN: values too, not keys alone

	FlagByPrefix uint8 = 0x01 // PURGE: keys that begin with a prefix, not keys that are named

	FlagGoodbye uint8 = 0x02 // HELLO: the server says goodbye before it closes the connection because it ends
)

var opcodes = [...]struct {
	name  string
	flags uint8 // the flags that a request may carry
	reads bool  // it changes nothing that is stored
}{
	OpGet:      {"GET", FlagWithMeta | FlagAtVersion, true},
	OpSet:      {"SET", FlagIfVersion | FlagTTL | FlagExpireAt, false},
	OpDel:      {"DEL", 0, false},
	OpMGet:     {"MGET", FlagWithMeta, true},
	OpMSet:     {"MSET", 0, false},
	OpTxn:      {"TXN", FlagWithMeta, false},
	OpStats:    {"STATS", 0, true},
	OpPing:     {"PING", 0, true},
	OpHello:    {"HELLO", FlagGoodbye, true},
	OpScan:     {"SCAN", FlagWithMeta | FlagWithValues, true},
	OpHistory:  {"HISTORY", 0, true},
	OpRollback: {"ROLLBACK", 0, false},
	OpSnapshot: {"SNAPSHOT", 0, true},
	OpBackup:   {"BACKUP", 0, true},
	OpCluster:  {"CLUSTER", 0, true},
	OpReads:    {"READS", 0, true},
	OpMember:   {"MEMBER", 0, false},
	OpPurge:    {"PURGE", FlagByPrefix, false},
	OpIncr:     {"INCR", FlagIfVersion | FlagTTL | FlagExpireAt, false},
	OpExpire:   {"EXPIRE", FlagIfVersion | FlagTTL | FlagExpireAt, false},
	OpPersist:  {"PERSIST", FlagIfVersion, false},
}

// Known reports whether o is an opcode of version 1 that a request may carry.
func (o Opcode) Known() bool { return int(o) < len(opcodes) && opcodes[o].name != "" }

// AllowsFlags reports whether a request with opcode o may carry all of flags.
func (o Opcode) AllowsFlags(flags uint8) bool { return o.Known() && flags&^opcodes[o].flags == 0 }

// Writes reports whether a request with opcode o may change the data, so that its outcome is unknown where the answer is
// lost. An unknown opcode may.
func (o Opcode) Writes() bool { return !o.Known() || !opcodes[o].reads }

// String returns the opcode's name in the specification.
func (o Opcode) String() string {
	if o.Known() {
		return opcodes[o].name
	}
	return fmt.Sprintf("opcode 0x%02x", uint8(o))
}
