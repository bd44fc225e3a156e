// Srv_asyncore uses Python's old reactor, asyncore: each socket has a dispatcher, which says
// what it wants to wait for, and is told when that is ready (listing 7-9).
//
// In srv_asyncio1 the loop receives and sends, and the protocol sees only data.
// Here the reactor does neither: every dispatcher receives, keeps its answers and
// sends them. The lines to look at are Readable and Writable.
package main

import (
	"cmp"
	"log"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/asyncore"
)

// A zenServer is the dispatcher of the listening socket. It has the buffers that
// all clients share, because the reactor calls one dispatcher at a time.
type zenServer struct {
	asyncore.Dispatcher
	data    [zen.MaxQuestion]byte
	answers []byte
}

func (z *zenServer) HandleAccept() {
	if newcomer, address, ok := z.Accept(); ok {
		z.Add(newcomer, &zenHandler{server: z, conversation: zen.NewConversation(address)})
	}
}

// A zenHandler is the dispatcher of a client.
type zenHandler struct {
	asyncore.Dispatcher
	server       *zenServer
	conversation *zen.Conversation
	unsent       []byte // answers that the system has not taken yet
	reason       error  // why to hang up when all is sent; nil while the client may ask
}

func (z *zenHandler) Readable() bool { return len(z.unsent) == 0 }
func (z *zenHandler) Writable() bool { return len(z.unsent) > 0 }

// HandleRead answers what the client has asked, and tries to send at once. The client
// waits to be Writable only if the system does not take all.
func (z *zenHandler) HandleRead() error {
	data := z.server.data[:]
	n, readErr := z.Recv(data)
	answers, tooLong := z.conversation.AppendAnswers(z.server.answers[:0], data[:n])
	z.server.answers = answers
	z.unsent = answers
	z.reason = cmp.Or(tooLong, readErr)
	return z.HandleWrite()
}

// HandleWrite sends what the system takes. An error that it returns makes the
// reactor call HandleClose, and hang up.
func (z *zenHandler) HandleWrite() error {
	n, writeErr := z.Send(z.unsent)
	z.unsent = append([]byte(nil), z.unsent[n:]...) // a copy: the next client uses the buffer
	if len(z.unsent) > 0 {
		return writeErr
	}
	return cmp.Or(writeErr, z.reason)
}

func (z *zenHandler) HandleClose(err error) {
	z.conversation.End(err)
}

func main() {
	address := zen.ParseCommandLine("The old reactor: any number of clients, one goroutine.")
	listener := zen.Listen(address)
	log.Fatal(asyncore.Loop(listener, &zenServer{}))
}
