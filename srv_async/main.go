// Srv_async is an event loop written by hand: one goroutine serves any number of
// clients, and waits for all of them in one place (listing 7-6).
//
// A worker of srv_threaded has its client's state on its stack while it waits.
// Here that state is in a struct, one for each client. The line to look at is the
// one that calls Wait: the program waits for clients there and nowhere else. While
// it thinks about a question, everybody waits.
package main

import (
	"cmp"
	"log"
	"net"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/poll"
)

// A client is what the server remembers of one client.
type client struct {
	conversation *zen.Conversation
	unsent       []byte // answers that the system has not taken yet
	err          error  // why to hang up when all is sent; nil while the client may ask
}

func serve(listener net.Listener) error {
	poller, err := poll.New(listener)
	if err != nil {
		return err
	}
	clients := map[poll.Socket]*client{}
	// A loop handles one client at a time, so all clients share these two buffers.
	// Without the second one each question would allocate.
	data := make([]byte, zen.MaxQuestion)
	buffer := make([]byte, 0, 96<<10) // room for 4096 answers of 24 bytes, the longest
	for {
		socket, event, err := poller.Wait()
		if err != nil {
			return err
		}

		// A new client, watched for Readable: remember it.
		if socket == poller.Listener {
			if accepted, address, ok := poller.Accept(); ok {
				clients[accepted] = &client{conversation: zen.NewConversation(address)}
			}
			continue
		}

		// A client is watched for one event at a time. If it is Readable, it has sent
		// something or left: answer what it has asked. If it is Writable, the system
		// has room again for what is unsent.
		c := clients[socket]
		if event == poll.Readable {
			n, readErr := socket.Recv(data)
			c.unsent, c.err = c.conversation.AppendAnswers(buffer, data[:n])
			c.err = cmp.Or(c.err, readErr) // the first that is not nil
		}

		// Send what the system takes, which most often is all. Copy the rest, because
		// the next client overwrites the buffer.
		n, writeErr := socket.Send(c.unsent)
		c.unsent = append([]byte(nil), c.unsent[n:]...)
		c.err = cmp.Or(writeErr, c.err)
		switch {
		case len(c.unsent) > 0 && writeErr == nil:
			// Read nothing more until the rest is sent.
			poller.Modify(socket, poll.Writable)
		case c.err == nil:
			// Wait for the next question.
			poller.Modify(socket, poll.Readable)
		default:
			// Hang up and forget the client: the next one may get its socket's number.
			delete(clients, socket)
			c.conversation.End(c.err)
			poller.HangUp(socket)
		}
	}
}

func main() {
	address := zen.ParseCommandLine("Event loop by hand: any number of clients, one goroutine.")
	listener := zen.Listen(address)
	log.Fatal(serve(listener))
}
