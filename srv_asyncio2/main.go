// Srv_asyncio2 is a server in the coroutine style: each client has a coroutine,
// which is suspended while it waits for its client (listing 7-8).
//
// The loop and its three callbacks are those of srv_asyncio1, but here the
// callbacks resume a coroutine. So the state of a client moves from a struct back
// to a stack, and the coroutine runs zen.HandleConversation, as srv_single does.
// The lines to look at are suspend in Read, and resume in DataReceived.
package main

import (
	"iter"
	"log"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/asyncio"
)

// coroutine makes f a coroutine: resume runs f until f calls suspend or returns. After
// that, resume does nothing.
//
// Pull gives f a stack of its own. So suspend may be called deep inside f, and the
// functions on the way to it need not know. In Python each of them must say await. The
// stop function of Pull is not needed, because f always ends.
func coroutine(f func()) (resume, suspend func()) {
	var yield func(struct{}) bool // set by the first resume
	next, _ := iter.Pull(func(y func(struct{}) bool) { yield = y; f() })
	return func() { next() }, func() { yield(struct{}{}) }
}

// A stream is the coroutine's connection to its client.
type stream struct {
	*asyncio.Transport        // has RemoteAddr, Write and Close
	suspend            func() // goes back to the loop
	data               []byte // received, and not read yet
	err                error  // why nothing more will be received, or nil
}

// Read suspends the coroutine only when all data is read. So when DataReceived returns,
// its data is not needed any more.
func (s *stream) Read(buffer []byte) (int, error) {
	for len(s.data) == 0 && s.err == nil {
		s.suspend()
	}
	n := copy(buffer, s.data)
	s.data = s.data[n:]
	return n, s.err
}

// A zenServer is the protocol of one client. Its methods return when the coroutine
// waits again or has ended.
type zenServer struct {
	stream stream
	resume func() // goes on with the coroutine
}

func (z *zenServer) ConnectionMade(transport *asyncio.Transport) {
	z.stream.Transport = transport
	z.resume, z.stream.suspend = coroutine(func() { zen.HandleConversation(&z.stream) })
	z.resume()
}

func (z *zenServer) DataReceived(data []byte) {
	z.stream.data = data
	z.resume()
}

func (z *zenServer) ConnectionLost(err error) {
	z.stream.err = err
	z.resume() // Read returns err, so the coroutine always ends
}

func main() {
	address := zen.ParseCommandLine("Coroutines on an event loop: any number of clients, one running at a time.")
	listener := zen.Listen(address)
	log.Fatal(asyncio.Serve(listener, func() asyncio.Protocol { return &zenServer{} }))
}
