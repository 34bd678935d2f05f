// Package netserver serves a store over the wire protocol of package protocol, on any [net.Listener], with or without
// TLS; and other protocols beside it.
//
//	st, err := store.Open(store.Options{})
//	…
//	srv, err := netserver.New(netserver.Config{Store: st})
//	…
//	l, err := net.Listen("tcp", "127.0.0.1:7070")
//	…
//	go srv.Serve(l)        // until Shutdown
//	…
//	err = srv.Shutdown(ctx) // answers what has arrived, then closes
//
// # A connection's life
//
// Every connection has a goroutine, and that goroutine is all that touches it. While nothing comes it waits for the socket
// to become readable and holds no buffer: a connection that is idle costs its goroutine's stack and little more. Then it
// takes a workspace from a pool, reads what has come, answers every whole frame in it, in order, and sends all the answers
// with one write. Once the socket has nothing more, the workspace goes back to the pool. What has come of an unfinished
// frame is kept in a buffer of its size.
//
// # Doors
//
// Kv frames are one door. Others stand on the same things: a [Door] of Config.Doors is chosen by the first byte of a
// connection, and answers what comes on it into an [Output], as kv frames do; what has no connection of its own here,
// as HTTP, makes a [Client] with [Server.Enter]. So whoever is served, and however, has the same users, limits, figures
// and log, and sees the same store.
//
// # What a client may cost
//
// Memory for a frame grows with the bytes that have arrived, at most doubling, and all that has come of frames shares
// Config.RequestMemory, a few hundred bytes of each aside. A frame over Config.Limit is read away and answered TOO_LARGE.
//
// A client that does not read its answers is not read from either: the server holds at most one workspace of requests
// and about 64 KiB of answers for it, or one large answer, and closes the connection once the client has taken nothing
// for Config.WriteTimeout, or goes on taking less than 64 KiB a second. Workspaces and large answers, whose values are
// not copied but kept until they are sent, share Config.OutputMemory. Where that is used up, who needs some waits, and
// of the clients that do not read the slowest is cut off.
//
// A frame must be finished Config.FrameTimeout after its first byte, and one second later for each 64 KiB of it that
// have arrived: after the first FrameTimeout, a client that sends slower than 64 KiB a second is cut off. Under TLS its
// first byte may be that of a record that is not whole. A connection between frames may stay idle for ever; dead peers
// are found by TCP keep-alive.
//
// Where there are Accounts, a connection on which nobody has logged in ends after Config.FrameTimeout, and of its frames no
// more than 4 KiB are kept: longer ones are read away. A login that fails is answered a quarter of a second late, counted and
// logged; after the third the connection is closed. When the accounts are replaced, those who are not in them as they were
// lose their connections.
//
// # Durability
//
// No answer leaves before [store.Session.Flush] says that it can't be taken back. Where Flush fails, the requests that it
// covers are answered UNAVAILABLE instead, and from then on the connection flushes after each request, so that reads of
// what is durable go on.
package netserver
