// Package asyncore is Python's old reactor: it asks the dispatcher of each socket what
// it wants to wait for, and tells the dispatcher when that is ready. It takes the
// place of the asyncore module, gone since Python 3.12, in listing 7-9.
package asyncore

import (
	"net"

	"fopnp/chapter07/zen/poll"
)

// A Handler is what the reactor calls, all from one goroutine. A type becomes a
// Handler if it embeds [Dispatcher], and replaces the methods that it needs.
//
// If HandleRead or HandleWrite returns an error, the connection is over: the
// reactor calls HandleClose with that error, and closes the socket.
type Handler interface {
	Readable() bool        // whether to wait until there is something to receive
	Writable() bool        // whether to wait until something can be sent
	HandleAccept()         // the listening socket: a client can be accepted
	HandleRead() error     // there is something to receive
	HandleWrite() error    // something can be sent
	HandleClose(err error) // the connection is over

	attach(reactor *reactor, socket poll.Socket) // unexported, so that every Handler embeds Dispatcher
}

// A Dispatcher is the part that every [Handler] embeds, as a class in Python
// inherits from asyncore.dispatcher. It waits for something to receive, and
// discards that.
type Dispatcher struct {
	reactor *reactor
	socket  poll.Socket
}

// These are the methods of a Handler that does not replace them.

func (d *Dispatcher) Readable() bool        { return true }
func (d *Dispatcher) Writable() bool        { return false }
func (d *Dispatcher) HandleAccept()         {}
func (d *Dispatcher) HandleRead() error     { _, err := d.Recv(make([]byte, 4096)); return err }
func (d *Dispatcher) HandleWrite() error    { return nil }
func (d *Dispatcher) HandleClose(err error) {}

func (d *Dispatcher) attach(r *reactor, socket poll.Socket) { d.reactor, d.socket = r, socket }

// Accept returns the next client of the listening socket, for [Dispatcher.Add],
// and its address. If ok is false, there is no client: it has already left, or
// the system is out of descriptors.
func (d *Dispatcher) Accept() (client poll.Socket, address net.Addr, ok bool) {
	return d.reactor.poller.Accept()
}

// Add makes handler the dispatcher of client.
func (d *Dispatcher) Add(client poll.Socket, handler Handler) {
	d.reactor.handlers[client] = handler
	handler.attach(d.reactor, client)
	d.reactor.ask(client, handler)
}

// Recv reads what has arrived into data, as [poll.Socket.Recv] does.
func (d *Dispatcher) Recv(data []byte) (int, error) { return d.socket.Recv(data) }

// Send sends as much of data as the system takes, as [poll.Socket.Send] does.
func (d *Dispatcher) Send(data []byte) (int, error) { return d.socket.Send(data) }

type reactor struct {
	poller   *poll.Poller
	handlers map[poll.Socket]Handler
}

// Loop runs the reactor. It takes over listener, a TCP listener, and calls the
// HandleAccept of server for each client. Loop returns when accepting fails, with
// the reason.
func Loop(listener net.Listener, server Handler) error {
	poller, err := poll.New(listener)
	if err != nil {
		return err
	}
	r := &reactor{poller, map[poll.Socket]Handler{}}
	server.attach(r, poller.Listener)
	for {
		socket, event, err := poller.Wait()
		if err != nil {
			return err
		}
		if socket == poller.Listener {
			server.HandleAccept()
			continue
		}
		handler := r.handlers[socket]
		if err := handle(handler, event); err != nil {
			handler.HandleClose(err)
			delete(r.handlers, socket)
			poller.HangUp(socket)
			continue
		}
		r.ask(socket, handler)
	}
}

// handle calls a handler for one event. If the event says both, as epoll's can,
// sending comes first, and the event for receiving comes again.
func handle(h Handler, event poll.Event) error {
	if event&poll.Writable != 0 {
		return h.HandleWrite()
	}
	return h.HandleRead()
}

// ask asks a handler what it wants to wait for. Python's asyncore asks all
// dispatchers in each turn, and gets slower with every idle client. Here only a
// handler that has just been called can have changed its mind.
func (r *reactor) ask(socket poll.Socket, h Handler) {
	var wanted poll.Event
	if h.Readable() {
		wanted |= poll.Readable
	}
	if h.Writable() {
		wanted |= poll.Writable
	}
	r.poller.Modify(socket, wanted)
}
