package protocol_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"kv/protocol"
)

func TestCheckLength(t *testing.T) {
	for length, good := range map[uint32]bool{
		0: false, 1: false, 7: false, 8: true, 9: true, protocol.DefaultLimit: true, protocol.MaxLimit: true,
		1<<28 - 1: true, 1 << 28: false, 1<<31 - 1: false, 1 << 31: false, 1<<32 - 1: false,
	} {
		if good {
			assert.NoError(t, protocol.CheckLength(length), length)
		} else {
			assert.ErrorIs(t, protocol.CheckLength(length), protocol.ErrNotAFrame, length)
		}
	}
}

func TestFits(t *testing.T) {
	assert.True(t, protocol.Fits(0))
	assert.True(t, protocol.Fits(1<<28-9))
	assert.False(t, protocol.Fits(1<<28-8))
	h := protocol.ParseHeader(protocol.AppendHeader(nil, protocol.OpGet, 0, 0, 1<<28-9))
	assert.NoError(t, protocol.CheckLength(h.Length))
	assert.Equal(t, 1<<28-9, h.BodySize())
}

func TestPlainGetSaysWhatTheHeaderSays(t *testing.T) {
	for _, length := range []uint32{0, 7, 8, 9, 24, 1<<28 - 1, 1 << 28, 1<<32 - 1} {
		for _, kind := range [][4]byte{{1}, {0}, {2}, {0x81}, {1, 1}, {1, 2}, {1, 0, 1}, {1, 0, 0, 1}} {
			b := binary.BigEndian.AppendUint32(nil, length)
			b = append(b, kind[:]...)
			b = binary.BigEndian.AppendUint32(b, 0xfedcba98)
			h := protocol.ParseHeader(b)
			size, id, ok := protocol.PlainGet(b)
			assert.Equal(t, protocol.CheckLength(length) == nil && h.Opcode == protocol.OpGet && h.Flags == 0 &&
				h.Reserved == 0, ok, "% x", b)
			assert.Equal(t, h.Size(), size)
			assert.Equal(t, h.ID, id)
		}
	}
}

func TestOpcodes(t *testing.T) {
	known := map[protocol.Opcode]uint8{
		0x01: 3, 0x02: 7, 0x03: 0, 0x04: 1, 0x05: 0, 0x06: 1, 0x07: 0, 0x08: 0, 0x09: 2, 0x0a: 3, 0x0b: 0, 0x0c: 0, 0x0e: 0, 0x0f: 0, 0x10: 0, 0x11: 0, 0x12: 0, 0x13: 1,
		0x14: 7, 0x15: 7, 0x16: 1,
	}
	for i := range 256 {
		op := protocol.Opcode(i)
		allowed, ok := known[op]
		assert.Equal(t, ok, op.Known(), "%v", op)
		for flags := range 256 {
			want := ok && uint8(flags)&^allowed == 0
			assert.Equal(t, want, op.AllowsFlags(uint8(flags)), "%v with flags %d", op, flags)
		}
	}
	assert.Equal(t, "MGET", protocol.OpMGet.String())
	assert.Equal(t, "opcode 0x0d", protocol.Opcode(0x0d).String())
	assert.Equal(t, "opcode 0xff", protocol.Opcode(0xff).String())
}

func TestErrorsMatchByStatus(t *testing.T) {
	all := []*protocol.Error{
		protocol.ErrNotFound, protocol.ErrConflict, protocol.ErrBadRequest, protocol.ErrTooLarge, protocol.ErrOutOfMemory,
		protocol.ErrUnauthenticated, protocol.ErrForbidden, protocol.ErrUnknownOpcode, protocol.ErrUnavailable,
		protocol.ErrInternal, protocol.ErrMoved,
	}
	for i, target := range all {
		assert.Equal(t, protocol.Status(i+1), target.Status)
		got := fmt.Errorf("get: %w", &protocol.Error{Status: target.Status, Message: "because", Version: 3})
		for _, other := range all {
			assert.Equal(t, other == target, errors.Is(got, other), "%v and %v", got, other)
		}
		assert.Contains(t, got.Error(), ": because")
	}
	assert.Equal(t, "not found", protocol.ErrNotFound.Error())
	assert.Equal(t, "status 99", protocol.Status(99).String())
	assert.NoError(t, protocol.ParseError(protocol.OpGet, protocol.StatusOK, nil))
}
