package protocol

import "encoding/binary"

// Hello opens a connection: which protocol the client speaks, and who it is. User and Secret are empty where no
// authentication is asked for.
type Hello struct {
	Version      uint16 // the highest protocol version that the client speaks, above 0
	User, Secret []byte // at most 65535 bytes each
	// Goodbye asks the server to say so, with a frame of opcode 0, before it closes the connection because it ends.
	// What it has not answered before that was not applied.
	Goodbye bool
}

// AppendTo appends the whole frame of r.
func (r Hello) AppendTo(dst []byte, id uint32) []byte {
	var flags uint8
	if r.Goodbye {
		flags = FlagGoodbye
	}
	dst = AppendHeader(dst, OpHello, flags, id, 6+len(r.User)+len(r.Secret))
	dst = binary.BigEndian.AppendUint16(dst, r.Version)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.User)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Secret)))
	dst = append(dst, r.User...)
	return append(dst, r.Secret...)
}

// ParseHello reads the body of a HELLO with these flags.
func ParseHello(flags uint8, body []byte) (Hello, error) {
	r := reader{b: body}
	q := Hello{Version: r.u16(), Goodbye: flags&FlagGoodbye != 0}
	user, secret := r.u16(), r.u16()
	q.User, q.Secret = r.bytes(uint64(user)), r.bytes(uint64(secret))
	if !r.done() {
		return q, badf("HELLO: a body of %d bytes does not hold a version, a user and a secret, and no more", len(body))
	}
	if q.Version == 0 {
		return q, badf("HELLO: there is no protocol version 0")
	}
	return q, nil
}

// HelloResponse is what a server says of itself.
type HelloResponse struct {
	Version  uint16 // the protocol version that both will speak: the lower of the two sides' highest
	Limit    uint32 // the server's frame limit, in bytes of length
	Instance uint64 // names this run of the server; cursors and backups do not outlive it
	Server   string // the server's name and version, for a person
}

// AppendTo appends the whole response frame of p.
func (p HelloResponse) AppendTo(dst []byte, id uint32) []byte {
	dst = AppendHeader(dst, OpHello, uint8(StatusOK), id, 14+len(p.Server))
	dst = binary.BigEndian.AppendUint16(dst, p.Version)
	dst = binary.BigEndian.AppendUint32(dst, p.Limit)
	dst = binary.BigEndian.AppendUint64(dst, p.Instance)
	return append(dst, p.Server...)
}

// ParseHelloResponse reads the OK body of a HELLO.
func ParseHelloResponse(body []byte) (HelloResponse, error) {
	r := reader{b: body}
	p := HelloResponse{Version: r.u16(), Limit: r.u32(), Instance: r.u64(), Server: string(r.rest())}
	if r.bad {
		return p, malformedf("HELLO: an answer of %d bytes is shorter than 14", len(body))
	}
	return p, nil
}
