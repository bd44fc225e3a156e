// Package asyncore is a loop that asks the dispatcher of each client what it wants to
// wait for, and calls the dispatcher when that is ready. It takes the place of
// Python's asyncore module, gone since Python 3.12, in listing 7-9.
package asyncore

import (
	"net"

	"fopnp/chapter07/zen/poll"
)

// A Server is called for each client that is accepted. In Python this is a method of
// the listening socket's dispatcher, which has no other work.
type Server interface {
	// HandleAccepted returns the dispatcher of a new client, never nil. The dispatcher
	// receives and sends on socket; only the loop closes it.
	HandleAccepted(socket poll.Socket, address net.Addr) Dispatcher
}

// A Dispatcher is what the loop calls for one client, all from one goroutine. It must
// not block.
type Dispatcher interface {
	Readable() bool     // whether to wait until there is something to receive
	Writable() bool     // whether to wait until something can be sent
	HandleRead() error  // there is something to receive; an error ends the connection
	HandleWrite() error // something can be sent; an error ends the connection

	// HandleClose is called last, with the error that has ended the connection. Then
	// the loop hangs up.
	HandleClose(err error)
}

// Loop accepts clients from listener, a TCP listener, and calls their dispatchers. It
// returns when accepting fails, with the reason. Nobody else may use listener
// meanwhile; the caller still owns it.
func Loop(listener net.Listener, server Server) error {
	poller, err := poll.New(listener)
	if err != nil {
		return err
	}
	dispatchers := map[poll.Socket]Dispatcher{}
	for {
		socket, event, err := poller.Wait()
		if err != nil {
			return err
		}
		if socket == poller.Listener {
			if accepted, address, ok := poller.Accept(); ok {
				d := server.HandleAccepted(accepted, address)
				dispatchers[accepted] = d
				poller.Modify(accepted, wanted(d))
			}
			continue
		}
		d := dispatchers[socket]
		if err := handle(d, event); err != nil {
			delete(dispatchers, socket)
			d.HandleClose(err)
			poller.HangUp(socket)
			continue
		}
		// Python asks all dispatchers in each turn, and gets slower with every idle
		// client. Here only the one that was called can want something else now.
		poller.Modify(socket, wanted(d))
	}
}

// handle calls d for one event. If d can both send and receive, it sends now, and the
// poller reports again that it can receive.
func handle(d Dispatcher, event poll.Event) error {
	if event&poll.Writable != 0 {
		return d.HandleWrite()
	}
	return d.HandleRead()
}

// wanted asks d what it wants to wait for.
func wanted(d Dispatcher) (event poll.Event) {
	if d.Readable() {
		event |= poll.Readable
	}
	if d.Writable() {
		event |= poll.Writable
	}
	return event
}
