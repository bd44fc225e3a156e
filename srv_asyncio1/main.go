// Srv_asyncio1 is a server in the callback style: an event loop calls the methods
// of a protocol, which never wait (listing 7-7).
//
// The loop is that of srv_async without Zen, in zen/asyncio/asyncio.go. What is
// left here is Zen without sockets. The line to look at is DataReceived: it gets
// whatever has arrived, and cannot ask for more.
package main

import (
	"log"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/asyncio"
)

// A zenServer is the protocol of one client.
type zenServer struct {
	transport    *asyncio.Transport
	conversation *zen.Conversation
}

func (z *zenServer) ConnectionMade(transport *asyncio.Transport) {
	z.transport = transport
	z.conversation = zen.NewConversation(transport.RemoteAddr())
}

func (z *zenServer) DataReceived(data []byte) {
	answers, err := z.conversation.AppendAnswers(z.transport.AvailableBuffer(), data)
	z.transport.Write(answers)
	if err != nil {
		z.transport.CloseWithError(err)
	}
}

func (z *zenServer) ConnectionLost(err error) {
	z.conversation.End(err)
}

func main() {
	address := zen.ParseCommandLine("Callbacks on an event loop: any number of clients, one goroutine.")
	listener := zen.Listen(address)
	log.Fatal(asyncio.Serve(listener, func() asyncio.Protocol { return &zenServer{} }))
}
