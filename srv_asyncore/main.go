//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

// Srv_asyncore uses the old reactor: each socket has a dispatcher, which is asked
// what it wants to wait for, and told when it is ready (listing 7-9).
//
// In srv_asyncio1 the loop reads and writes, and the protocol sees data; here every
// dispatcher keeps its own answers, and does its own reading and writing. What it
// wants next is not said but asked for: the lines to look at are readable and
// writable.
package main

import (
	"log"
	"net"
	"slices"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/poll"
)

// The listing: what a user of the framework writes.

// zenServer is the dispatcher of the listening socket.
type zenServer struct{ base }

func (z *zenServer) handleAccept() {
	if newcomer, address, ok := z.reactor.poller.Accept(z.socket); ok {
		handler := &zenHandler{conversation: zen.NewConversation(address)}
		handler.attach(z.reactor, newcomer, handler)
	}
}

// zenHandler is the dispatcher of a client.
type zenHandler struct {
	base
	conversation *zen.Conversation
	answers      []byte // not sent yet
	err          error  // why to hang up once they are
}

func (z *zenHandler) readable() bool { return len(z.answers) == 0 }
func (z *zenHandler) writable() bool { return len(z.answers) > 0 }

func (z *zenHandler) handleRead() {
	if data, ok := z.recv(); ok {
		z.answers, z.err = z.conversation.AppendAnswers(z.answers, data)
		z.handleWrite() // most often the client takes all of them at once
	}
}

func (z *zenHandler) handleWrite() {
	n, err := z.socket.Send(z.answers)
	z.answers = slices.Delete(z.answers, 0, n)
	if err == nil && len(z.answers) == 0 {
		err = z.err
	}
	if err != nil {
		z.handleClose(err)
	}
}

func (z *zenHandler) handleClose(err error) {
	z.conversation.Close(err)
	z.detach()
}

func serve(tcp net.Listener) error {
	reactor, err := newReactor(tcp)
	if err != nil {
		return err
	}
	server := &zenServer{}
	server.attach(reactor, reactor.listener, server)
	reactor.run()
	return nil // not reached
}

// The framework: what asyncore keeps out of sight.

// A dispatcher stands for a socket. The reactor asks readable and writable what
// it wants, and calls the others when that is ready.
type dispatcher interface {
	readable() bool
	writable() bool
	handleAccept()         // a listening socket: a client is at the door
	handleRead()           // there is something to receive
	handleWrite()          // something can be sent
	handleClose(err error) // the connection has ended: io.EOF, or what broke it
}

// base is to be embedded in a dispatcher: it knows the socket, and has every
// method that the dispatcher does without. In Python it would be the class to
// inherit from, and its self the whole object. Go's embedding is not
// inheritance: a method of base sees base alone, and so it keeps, as self, the
// dispatcher that it is a part of.
type base struct {
	self    dispatcher
	reactor *reactor
	socket  poll.Socket
	watched poll.Event
}

func (b *base) readable() bool        { return true }
func (b *base) writable() bool        { return false }
func (b *base) handleAccept()         {}
func (b *base) handleRead()           {}
func (b *base) handleWrite()          {}
func (b *base) handleClose(err error) { b.detach() }

// attach gives self, which embeds b, a socket that is watched for reading.
func (b *base) attach(r *reactor, socket poll.Socket, self dispatcher) {
	*b = base{self, r, socket, poll.Readable}
	r.dispatchers[socket] = b
}

// detach closes the socket, and the reactor forgets it.
func (b *base) detach() {
	delete(b.reactor.dispatchers, b.socket)
	b.reactor.poller.Close(b.socket)
}

// recv returns what has arrived, until the next call of any dispatcher's recv.
// Where the connection has ended it has called handleClose, and is not ok.
func (b *base) recv() (data []byte, ok bool) {
	n, err := b.socket.Recv(b.reactor.data)
	if err != nil {
		b.self.handleClose(err)
	}
	return b.reactor.data[:n], err == nil
}

// A reactor asks, waits and tells.
type reactor struct {
	poller      *poll.Poller
	listener    poll.Socket
	dispatchers map[poll.Socket]*base
	data        []byte
}

// ask asks b what it wants to wait for. Nobody but a dispatcher that has just
// been told something can have changed its mind; to ask all of them before each
// wait, as asyncore does, costs every turn as much as there are clients.
func (r *reactor) ask(b *base) {
	var wanted poll.Event
	if b.self.readable() {
		wanted |= poll.Readable
	}
	if b.self.writable() {
		wanted |= poll.Writable
	}
	if wanted != b.watched {
		r.poller.Modify(b.socket, wanted)
		b.watched = wanted
	}
}

// newReactor returns a reactor that has taken over the socket of tcp.
func newReactor(tcp net.Listener) (*reactor, error) {
	poller, listener, err := poll.New(tcp)
	return &reactor{poller, listener, map[poll.Socket]*base{}, make([]byte, 4096)}, err
}

// run asks, waits and tells for ever.
func (r *reactor) run() {
	for socket, event := range r.poller.Events() {
		b := r.dispatchers[socket]
		switch {
		case socket == r.listener:
			b.self.handleAccept()
		case event&poll.Writable != 0: // finish sending before reading more
			b.self.handleWrite()
		default:
			b.self.handleRead()
		}
		if r.dispatchers[socket] == b { // it has not been detached
			r.ask(b)
		}
	}
}

func main() {
	address := zen.ParseCommandLine("The old reactor: any number of clients, one goroutine.")
	listener := zen.Listen(address)
	log.Fatal(serve(listener))
}
