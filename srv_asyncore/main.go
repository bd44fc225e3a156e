// Srv_asyncore is a server in the style of Python's old asyncore: each client has a
// dispatcher, which says what it wants to wait for, and is called when that is ready
// (listing 7-9).
//
// In srv_asyncio1 the loop receives and sends, and the protocol sees only data.
// Here the loop does neither: every dispatcher receives, keeps its answers and
// sends them. The lines to look at are Readable and Writable.
package main

import (
	"cmp"
	"log"
	"net"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/asyncore"
	"fopnp/chapter07/zen/poll"
)

// A zenServer makes a dispatcher for each client. All dispatchers share its buffers,
// because the loop calls one at a time.
type zenServer struct {
	data   [zen.MaxQuestion]byte
	buffer [96 << 10]byte // room for 4096 answers of 24 bytes, the longest
}

func (z *zenServer) HandleAccepted(socket poll.Socket, address net.Addr) asyncore.Dispatcher {
	return &zenDispatcher{Socket: socket, server: z, conversation: zen.NewConversation(address)}
}

// A zenDispatcher is the dispatcher of one client.
type zenDispatcher struct {
	poll.Socket  // has Recv and Send
	server       *zenServer
	conversation *zen.Conversation
	unsent       []byte // answers that the system has not taken yet
	err          error  // why to hang up when all is sent; nil while the client may ask
}

func (z *zenDispatcher) Readable() bool { return len(z.unsent) == 0 }
func (z *zenDispatcher) Writable() bool { return len(z.unsent) > 0 }

// HandleRead answers what the client has asked, and tries to send at once. The client
// waits to be Writable only if the system does not take all.
func (z *zenDispatcher) HandleRead() error {
	data := z.server.data[:]
	n, readErr := z.Recv(data)
	z.unsent, z.err = z.conversation.AppendAnswers(z.server.buffer[:0], data[:n])
	z.err = cmp.Or(z.err, readErr)
	return z.HandleWrite()
}

// HandleWrite sends what the system takes.
func (z *zenDispatcher) HandleWrite() error {
	n, writeErr := z.Send(z.unsent)
	z.unsent = append([]byte(nil), z.unsent[n:]...) // a copy: the next client uses the buffer
	if len(z.unsent) > 0 {
		return writeErr // z.err waits until all is sent
	}
	return cmp.Or(writeErr, z.err)
}

func (z *zenDispatcher) HandleClose(err error) {
	z.conversation.End(err)
}

func main() {
	address := zen.ParseCommandLine("Dispatchers on an event loop: any number of clients, one goroutine.")
	listener := zen.Listen(address)
	log.Fatal(asyncore.Loop(listener, &zenServer{}))
}
