//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

// Srv_asyncio1 is an event loop in the callback style: the loop calls a protocol
// when something has happened to its client, and the protocol never waits
// (listing 7-7).
//
// The loop is that of srv_async, but it knows nothing of Zen, and the listing
// nothing of sockets: all that is left of the service is three methods. The line
// to look at is the signature of dataReceived: it is handed the data, and cannot
// ask for more.
package main

import (
	"log"
	"net"
	"slices"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/poll"
)

// The listing: what a user of the framework writes.

// zenServer is the protocol. There is one for each client.
type zenServer struct {
	transport    *transport
	conversation *zen.Conversation
}

func (z *zenServer) connectionMade(transport *transport) {
	z.transport = transport
	z.conversation = zen.NewConversation(transport.address)
}

func (z *zenServer) dataReceived(data []byte) {
	answers, err := z.conversation.AppendAnswers(nil, data)
	z.transport.write(answers)
	if err != nil {
		z.transport.close(err)
	}
}

func (z *zenServer) connectionLost(err error) {
	z.conversation.Close(err)
}

// The framework: what asyncio keeps out of sight.

// A protocol is called by the loop: once with connectionMade, then with each
// piece of data, which it must not keep, and at last once with connectionLost,
// where err is io.EOF if the client closed its side.
type protocol interface {
	connectionMade(transport *transport)
	dataReceived(data []byte)
	connectionLost(err error)
}

// A transport is what a protocol sees of its connection. Neither of its methods
// waits: the loop does the work when the protocol's method has returned.
type transport struct {
	address  net.Addr
	protocol protocol
	unsent   []byte // data written and not sent yet
	err      error  // why to close once unsent has been sent
}

// write has data sent, now or later. While some of it is unsent, no more is
// received: a client that does not read cannot make it grow.
func (t *transport) write(data []byte) { t.unsent = append(t.unsent, data...) }

// close closes the connection once all is sent, and tells connectionLost why:
// err, which is not nil.
func (t *transport) close(err error) { t.err = err }

// serve is the loop. newProtocol makes the protocol of each new connection.
func serve(tcp net.Listener, newProtocol func() protocol) error {
	poller, listener, err := poll.New(tcp)
	if err != nil {
		return err
	}
	transports := map[poll.Socket]*transport{}
	data := make([]byte, 4096)

	for socket, event := range poller.Events() {
		t := transports[socket]
		switch {
		case socket == listener:
			newcomer, address, ok := poller.Accept(listener)
			if !ok {
				continue
			}
			socket, t = newcomer, &transport{address: address, protocol: newProtocol()}
			transports[socket] = t
			t.protocol.connectionMade(t)
		case event == poll.Readable:
			n, err := socket.Recv(data)
			if n > 0 {
				t.protocol.dataReceived(data[:n])
			}
			if err != nil {
				t.close(err)
			}
		}

		// Whatever the protocol has asked for is done here.
		n, err := socket.Send(t.unsent)
		t.unsent = slices.Delete(t.unsent, 0, n)
		next := poll.Readable
		if len(t.unsent) > 0 {
			next = poll.Writable
		}
		if err == nil && len(t.unsent) == 0 {
			err = t.err
		}
		switch {
		case err != nil:
			t.protocol.connectionLost(err)
			delete(transports, socket)
			poller.Close(socket)
		case next != event:
			poller.Modify(socket, next)
		}
	}
	return nil // not reached
}

func main() {
	address := zen.ParseCommandLine("Callbacks on an event loop: any number of clients, one goroutine.")
	listener := zen.Listen(address)
	log.Fatal(serve(listener, func() protocol { return &zenServer{} }))
}
