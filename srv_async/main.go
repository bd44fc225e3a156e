//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

// Srv_async is a raw asynchronous event loop: one goroutine serves any number of
// clients at once, and waits for all of them in one place (listing 7-6).
//
// What a worker of srv_threaded keeps on its stack while it waits, who its
// client is and how far it has got, stands here in plain sight, in a struct, by
// socket. The line to look at is the one that says for: nowhere else does this
// program wait.
package main

import (
	"cmp"
	"log"
	"net"
	"slices"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/poll"
)

// A client is all that there is to remember of one.
type client struct {
	conversation *zen.Conversation
	answers      []byte // not sent yet
	err          error  // why to hang up once they are
}

// serve is the loop. It is told what has happened, does what can be done about
// it at once, and says what it wants to be told of next.
func serve(tcp net.Listener) error {
	poller, listener, err := poll.New(tcp)
	if err != nil {
		return err
	}
	clients := map[poll.Socket]*client{}
	data := make([]byte, 4096)

	for socket, event := range poller.Events() {
		c := clients[socket]
		switch {

		// A new client is at the door: let it in, and remember it.
		case socket == listener:
			if newcomer, address, ok := poller.Accept(listener); ok {
				clients[newcomer] = &client{conversation: zen.NewConversation(address)}
			}

		// A client has sent something, or hung up. Nothing is waiting to be sent
		// to it, or this would not be watched for; so go on and answer.
		case event == poll.Readable:
			n, err := socket.Recv(data)
			var tooLong error
			c.answers, tooLong = c.conversation.AppendAnswers(c.answers, data[:n])
			c.err = cmp.Or(tooLong, err)
			fallthrough

		// A client can take answers: send what it takes. While some are left the
		// loop waits to send more, and does not read; then it reads again.
		case event == poll.Writable:
			n, err := socket.Send(c.answers)
			c.answers = slices.Delete(c.answers, 0, n)
			next := poll.Readable
			if len(c.answers) > 0 {
				next = poll.Writable
			}
			if err == nil && len(c.answers) == 0 {
				err = c.err
			}
			switch {
			case err != nil:
				// Everything about a client is forgotten at the moment it is
				// closed: the kernel gives its number to the next one.
				c.conversation.Close(err)
				delete(clients, socket)
				poller.Close(socket)
			case next != event:
				poller.Modify(socket, next)
			}
		}
	}
	return nil // not reached
}

func main() {
	address := zen.ParseCommandLine("Event loop by hand: any number of clients, one goroutine.")
	listener := zen.Listen(address)
	log.Fatal(serve(listener))
}
