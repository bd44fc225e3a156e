// Srv_asyncore uses the old reactor: each socket has a dispatcher, which says
// what it wants to wait for, and is told when that is ready (listing 7-9).
//
// In srv_asyncio1 the loop receives and sends, and the protocol sees only data.
// Here the reactor does neither: every dispatcher receives, keeps its answers and
// sends them. The lines to look at are Readable and Writable.
package main

import (
	"bytes"
	"cmp"
	"log"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/asyncore"
)

// A zenServer is the dispatcher of the listening socket.
type zenServer struct{ asyncore.Dispatcher }

func (z *zenServer) HandleAccept() {
	if client, address, ok := z.Accept(); ok {
		z.Add(client, &zenHandler{conversation: zen.NewConversation(address)})
	}
}

// A zenHandler is the dispatcher of a client.
type zenHandler struct {
	asyncore.Dispatcher
	conversation *zen.Conversation
	unsent       []byte // answers that are not sent yet
	err          error  // why to hang up after sending unsent, or nil
}

// All clients share these two: a client uses them only inside HandleRead.
var (
	data    = make([]byte, zen.MaxQuestion)
	answers []byte
)

func (z *zenHandler) Readable() bool { return len(z.unsent) == 0 }
func (z *zenHandler) Writable() bool { return len(z.unsent) > 0 }

func (z *zenHandler) HandleRead() error {
	n, err := z.Recv(data)
	answers, z.err = z.conversation.AppendAnswers(answers[:0], data[:n])
	z.unsent = answers
	z.err = cmp.Or(z.err, err)
	return z.HandleWrite()
}

func (z *zenHandler) HandleWrite() error {
	n, err := z.Send(z.unsent)
	z.unsent = bytes.Clone(z.unsent[n:]) // usually empty; the buffer is shared
	if err == nil && len(z.unsent) == 0 {
		err = z.err
	}
	return err
}

func (z *zenHandler) HandleClose(err error) {
	z.conversation.End(err)
}

func main() {
	address := zen.ParseCommandLine("The old reactor: any number of clients, one goroutine.")
	listener := zen.Listen(address)
	log.Fatal(asyncore.Loop(listener, &zenServer{}))
}
