// Package asyncio is an event loop that calls a protocol when something has
// happened to its client. It takes the place of Python's asyncio module in
// listings 7-7 and 7-8.
//
// The loop in [Serve] is the loop of srv_async, with a protocol in the place of
// Zen. This shows the loops beside each other:
//
//	zen/tools/compare -y srv_async:serve zen/asyncio/asyncio.go:Serve
package asyncio

import (
	"cmp"
	"net"

	"fopnp/chapter07/zen/poll"
)

// A Protocol is called by the loop, and must not block. All calls come from one
// goroutine.
type Protocol interface {
	// ConnectionMade is called first. The protocol may keep the transport, and
	// use it inside its own methods.
	ConnectionMade(transport *Transport)

	// DataReceived is called with each piece of data that arrives. The data is
	// valid until DataReceived returns.
	DataReceived(data []byte)

	// ConnectionLost is called last, and once. The error is what broke the
	// connection, or the argument of Close, or io.EOF if the client has closed its
	// side. The transport does nothing any more.
	ConnectionLost(err error)
}

// A Transport is the connection of a protocol. The protocol of another client may
// use it too, inside any callback: a chat writes to all its clients.
type Transport struct {
	poller   *poll.Poller // nil when the connection is lost
	protocol Protocol
	socket   poll.Socket
	address  net.Addr
	unsent   []byte // written, and not taken by the system yet; nil if there is nothing to send
	reason   error  // why to hang up when all is sent; nil while the client may go on
}

// RemoteAddr returns the client's address.
func (t *Transport) RemoteAddr() net.Addr { return t.address }

// AvailableBuffer returns an empty slice. Append to it, and pass the result to the
// next Write: that allocates nothing if the data fits. It works as
// [bufio.Writer.AvailableBuffer] does.
func (t *Transport) AvailableBuffer() []byte { return t.unsent[len(t.unsent):] }

// Write adds data to what the loop sends to the client. Until that is sent, the
// loop receives nothing more from this client: a client that sends, and never
// reads, cannot fill the memory with its own answers. How much others write to it
// is for the protocol to limit, see Buffered. After Close, and when the connection is
// lost, Write does nothing.
func (t *Transport) Write(data []byte) {
	if t.poller != nil && t.reason == nil {
		t.sendSoon()
		t.unsent = append(t.unsent, data...)
	}
}

// Buffered returns how many bytes are written and not taken by the system yet.
func (t *Transport) Buffered() int { return len(t.unsent) }

// Close makes the loop hang up when everything written is sent, and pass err to
// ConnectionLost. Err must not be nil; io.EOF is an ordinary end. A client that never
// reads stays connected until it leaves. If the connection is lost, Close does
// nothing.
func (t *Transport) Close(err error) {
	if t.poller != nil {
		t.sendSoon()
		t.reason = err
	}
}

// sendSoon wakes the loop for a client that has nothing to send yet. Only a chat needs
// that: to the client whose event it handles, the loop sends anyway.
func (t *Transport) sendSoon() {
	if t.unsent == nil {
		t.poller.Modify(t.socket, poll.Writable)
	}
}

// Serve runs the loop. It accepts clients from listener, a TCP listener that it
// takes over, and calls newProtocol for each one. It returns when accepting
// fails, with the reason.
func Serve(listener net.Listener, newProtocol func() Protocol) error {
	poller, err := poll.New(listener)
	if err != nil {
		return err
	}
	clients := map[poll.Socket]*Transport{}
	data := make([]byte, 4096)
	buffer := []byte{} // what a client writes while the loop handles its event
	for {
		socket, event, err := poller.Wait()
		if err != nil {
			return err
		}

		if socket == poller.Listener {
			if newcomer, address, ok := poller.Accept(); ok {
				c := &Transport{poller: poller, protocol: newProtocol(), socket: newcomer, address: address}
				clients[newcomer] = c
				c.protocol.ConnectionMade(c)
			}
			continue
		}

		c := clients[socket]
		if event == poll.Readable {
			n, readErr := socket.Recv(data)
			c.unsent = buffer[:0]
			if n > 0 {
				c.protocol.DataReceived(data[:n])
			}
			buffer = c.unsent
			c.reason = cmp.Or(c.reason, readErr)
		}

		n, writeErr := socket.Send(c.unsent)
		c.unsent = append([]byte(nil), c.unsent[n:]...)
		if writeErr != nil {
			c.unsent, c.reason = nil, writeErr
		}
		switch {
		case len(c.unsent) > 0:
			poller.Modify(socket, poll.Writable)
		case c.reason == nil:
			poller.Modify(socket, poll.Readable)
		default:
			delete(clients, socket)
			c.poller = nil
			c.protocol.ConnectionLost(c.reason)
			poller.HangUp(socket)
		}
	}
}
