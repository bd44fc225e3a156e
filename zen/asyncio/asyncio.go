// Package asyncio is an event loop that calls a protocol when something has
// happened to its client. It takes the place of Python's asyncio module in
// listings 7-7 and 7-8.
//
// The loop in [Serve] is the loop of srv_async, with a protocol in the place of
// Zen. This shows the loops beside each other:
//
//	diff -y -t srv_async/main.go zen/asyncio/asyncio.go
package asyncio

import (
	"bytes"
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
	// connection if it is broken, the argument of Close if the protocol has called
	// that, and io.EOF if the client has closed its side.
	ConnectionLost(err error)
}

// A Transport is the connection of a protocol.
type Transport struct {
	protocol Protocol
	address  net.Addr
	unsent   []byte // written, and not sent yet
	err      error  // why to hang up after sending unsent, or nil
}

// RemoteAddr returns the client's address.
func (t *Transport) RemoteAddr() net.Addr { return t.address }

// AvailableBuffer returns an empty slice. Append to it, and pass the result to the
// next Write: that allocates nothing if the data fits. It works as
// [bufio.Writer.AvailableBuffer] does.
func (t *Transport) AvailableBuffer() []byte { return t.unsent[len(t.unsent):] }

// Write adds data to what the loop sends to the client. Until that is sent, the
// loop receives nothing more from this client: a client that sends, and never
// reads, cannot fill the memory.
func (t *Transport) Write(data []byte) { t.unsent = append(t.unsent, data...) }

// Close makes the loop hang up when everything written is sent. Close must be
// called with an error, which the loop passes to ConnectionLost.
func (t *Transport) Close(err error) { t.err = err }

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
	var buffer []byte // shared: a client uses it only while the loop handles its event
	for socket, event := range poller.Events() {
		c := clients[socket]
		switch {

		case socket == poller.Listener:
			if newcomer, address, ok := poller.Accept(); ok {
				c = &Transport{protocol: newProtocol(), address: address}
				clients[newcomer] = c
				c.protocol.ConnectionMade(c)
				poller.Modify(newcomer, poll.Writable) // to send what ConnectionMade wrote
			}
			continue

		case event == poll.Readable:
			n, err := socket.Recv(data)
			c.unsent = buffer[:0]
			if n > 0 {
				c.protocol.DataReceived(data[:n])
			}
			buffer = c.unsent
			c.err = cmp.Or(c.err, err)

		case event == poll.Writable:
		}

		n, err := socket.Send(c.unsent)
		c.unsent = bytes.Clone(c.unsent[n:]) // usually empty; the buffer is shared
		switch {
		case err == nil && len(c.unsent) > 0:
			poller.Modify(socket, poll.Writable)
		case err == nil && c.err == nil:
			poller.Modify(socket, poll.Readable)
		default:
			delete(clients, socket)
			c.protocol.ConnectionLost(cmp.Or(err, c.err))
			poller.HangUp(socket)
		}
	}
	return poller.Err()
}
