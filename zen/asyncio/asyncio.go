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
	"bytes"
	"cmp"
	"io"
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
	// connection, or the argument of CloseWithError, or io.EOF after Close or if the
	// client has closed its side. Write now returns net.ErrClosed.
	ConnectionLost(err error)
}

// A Transport is the connection of a protocol, without Read: the loop reads. The
// protocol of another client may use it too, inside any callback: a chat writes to all
// its clients.
type Transport struct {
	poller   *poll.Poller
	protocol Protocol
	socket   poll.Socket
	address  net.Addr
	unsent   []byte // written, and not taken by the system yet; see sendSoon for nil
	err      error  // why to hang up when all is sent; nil while the client may go on
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
// is for the protocol to limit, see Buffered. Write returns net.ErrClosed after Close,
// and when the connection is lost.
func (t *Transport) Write(data []byte) (int, error) {
	if t.err != nil {
		return 0, net.ErrClosed
	}
	t.sendSoon()
	t.unsent = append(t.unsent, data...)
	return len(data), nil
}

// Buffered returns how many bytes are written and not taken by the system yet.
func (t *Transport) Buffered() int { return len(t.unsent) }

// Close makes the loop hang up when everything written is sent. ConnectionLost gets
// io.EOF. A client that never reads stays connected until it leaves.
func (t *Transport) Close() error { return t.CloseWithError(io.EOF) }

// CloseWithError does what Close does, but ConnectionLost gets err. Like
// [io.PipeWriter.CloseWithError], it never overwrites an earlier error, and always
// returns nil.
func (t *Transport) CloseWithError(err error) error {
	if t.err == nil {
		t.sendSoon()
		t.err = cmp.Or(err, io.EOF) // the first that is not nil
	}
	return nil
}

// sendSoon makes the loop wait until it can send, and not for data. If unsent is not
// nil, the loop does so already, or sends when DataReceived returns. It is nil when
// ConnectionMade writes, or the protocol of another client, as in a chat.
func (t *Transport) sendSoon() {
	if t.unsent == nil {
		t.poller.Modify(t.socket, poll.Writable)
	}
}

// Serve runs the loop. It accepts clients from listener, a TCP listener, and calls
// newProtocol for each one. It returns when accepting fails, with the reason. Nobody
// else may use listener meanwhile; the caller still owns it.
func Serve(listener net.Listener, newProtocol func() Protocol) error {
	poller, err := poll.New(listener)
	if err != nil {
		return err
	}
	clients := map[poll.Socket]*Transport{}
	data := make([]byte, 4096)
	// What a protocol writes to the client whose event the loop handles is stored in
	// this buffer. If it does not fit, append allocates for that client alone, so the
	// buffer never grows.
	buffer := make([]byte, 0, 96<<10)
	for {
		socket, event, err := poller.Wait()
		if err != nil {
			return err
		}

		if socket == poller.Listener {
			if accepted, address, ok := poller.Accept(); ok {
				c := &Transport{poller: poller, protocol: newProtocol(), socket: accepted, address: address}
				clients[accepted] = c
				c.protocol.ConnectionMade(c)
			}
			continue
		}

		c := clients[socket]
		if event == poll.Readable {
			n, readErr := socket.Recv(data)
			c.unsent = buffer // empty, but not nil: the loop sends below
			if n > 0 {
				c.protocol.DataReceived(data[:n])
			}
			c.err = cmp.Or(c.err, readErr)
		}

		n, writeErr := socket.Send(c.unsent)
		c.unsent = c.unsent[n:]
		c.err = cmp.Or(writeErr, c.err)
		switch {
		case len(c.unsent) > 0 && writeErr == nil:
			// Copy what may lie in the buffer, which the next client overwrites. A slice
			// with more capacity was allocated for this client.
			if cap(c.unsent) <= cap(buffer) {
				c.unsent = bytes.Clone(c.unsent)
			}
			poller.Modify(socket, poll.Writable)
		case c.err == nil:
			c.unsent = nil
			poller.Modify(socket, poll.Readable)
		default:
			delete(clients, socket)
			c.protocol.ConnectionLost(c.err)
			poller.HangUp(socket)
		}
	}
}
