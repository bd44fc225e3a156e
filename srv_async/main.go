// Srv_async is an event loop written by hand: one goroutine serves any number of
// clients, and waits for all of them in one place (listing 7-6).
//
// A worker of srv_threaded has its client's state on its stack while it waits.
// Here that state is in a struct, one for each client. The line to look at is the
// one that says for: the program waits there and nowhere else.
package main

import (
	"bytes"
	"cmp"
	"log"
	"net"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/poll"
)

// A client is what the server remembers of one client.
type client struct {
	conversation *zen.Conversation
	unsent       []byte // answers that are not sent yet
	err          error  // why to hang up after sending unsent, or nil
}

func serve(listener net.Listener) error {
	poller, err := poll.New(listener)
	if err != nil {
		return err
	}
	clients := map[poll.Socket]*client{}
	data := make([]byte, zen.MaxQuestion)
	var answers []byte // shared: a client uses it only while the loop handles its event
	for socket, event := range poller.Events() {
		c := clients[socket]
		switch {

		// A new client: remember it, and wait for its first question.
		case socket == poller.Listener:
			if newcomer, address, ok := poller.Accept(); ok {
				clients[newcomer] = &client{conversation: zen.NewConversation(address)}
			}
			continue

		// A client has sent something, or hung up: answer what it has asked.
		case event == poll.Readable:
			n, err := socket.Recv(data)
			answers, c.err = c.conversation.AppendAnswers(answers[:0], data[:n])
			c.unsent = answers
			c.err = cmp.Or(c.err, err)

		// The system has room again for answers that are not sent yet.
		case event == poll.Writable:
		}

		// Send what the system takes. If answers are left, wait until it takes
		// more. If none are left, wait for the next question. If the client is
		// finished, hang up and forget it: its socket's number will be used again.
		n, err := socket.Send(c.unsent)
		c.unsent = bytes.Clone(c.unsent[n:]) // usually empty; the buffer is shared
		switch {
		case err == nil && len(c.unsent) > 0:
			poller.Modify(socket, poll.Writable)
		case err == nil && c.err == nil:
			poller.Modify(socket, poll.Readable)
		default:
			delete(clients, socket)
			c.conversation.End(cmp.Or(err, c.err))
			poller.HangUp(socket)
		}
	}
	return poller.Err()
}

func main() {
	address := zen.ParseCommandLine("Event loop by hand: any number of clients, one goroutine.")
	listener := zen.Listen(address)
	log.Fatal(serve(listener))
}
