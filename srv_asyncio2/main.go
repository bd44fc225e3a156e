// Srv_asyncio2 is a server in the coroutine style: each client has a coroutine,
// which is suspended while it waits for its client (listing 7-8).
//
// The loop and its three callbacks are those of srv_asyncio1, but here the
// callbacks resume a coroutine. So the state of a client moves from a struct back
// to a stack, and the coroutine runs zen.HandleConversation, as srv_single does.
// The lines to look at are suspend in Read, and resume in DataReceived.
package main

import (
	"io"
	"iter"
	"log"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/asyncio"
)

// A stream stands between the loop and the coroutine of one client. To the loop
// it is a protocol, and to the coroutine it is a connection.
type stream struct {
	*asyncio.Transport        // has RemoteAddr
	suspend            func() // the coroutine calls it: go back to the loop
	resume             func() // the loop calls it: go on with the coroutine
	data               []byte // received, and not read yet
	reason             error  // why nothing more will be received, or nil
}

// The loop calls these three. Each returns when the coroutine waits again or has
// ended.

func (s *stream) ConnectionMade(transport *asyncio.Transport) {
	s.Transport = transport
	// Pull runs a function as a coroutine, which has a stack of its own: next resumes
	// it, yield suspends it, and no value is passed. So Read can call yield, two
	// functions below, and HandleConversation does not know. In Python every function
	// between the loop and the wait must say await, and be a coroutine too.
	next, _ := iter.Pull(func(yield func(struct{}) bool) {
		s.suspend = func() { yield(struct{}{}) }
		zen.HandleConversation(s)
	})
	s.resume = func() { next() } // after the end it does nothing
	s.resume()
}

func (s *stream) DataReceived(data []byte) {
	s.data = data
	s.resume()
}

func (s *stream) ConnectionLost(err error) {
	s.reason = err
	s.resume() // Read returns the reason, so the coroutine always ends
}

// The coroutine calls these three, and RemoteAddr.

// Read suspends the coroutine while there is nothing to read. It suspends only
// when s.data is empty, so no data is left when DataReceived returns.
func (s *stream) Read(buffer []byte) (int, error) {
	for len(s.data) == 0 {
		if s.reason != nil {
			return 0, s.reason
		}
		s.suspend()
	}
	n := copy(buffer, s.data)
	s.data = s.data[n:]
	return n, nil
}

// Write only stores the data. The loop sends it when the coroutine is suspended,
// and receives nothing more from this client until it is sent.
func (s *stream) Write(data []byte) (int, error) {
	s.Transport.Write(data)
	return len(data), nil
}

// Close hangs up. The reason is in the log already, so here it does not matter.
func (s *stream) Close() error {
	s.Transport.Close(io.EOF)
	return nil
}

func main() {
	address := zen.ParseCommandLine("Coroutines on an event loop: any number of clients, one running at a time.")
	listener := zen.Listen(address)
	log.Fatal(asyncio.Serve(listener, func() asyncio.Protocol { return &stream{} }))
}
