//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

// Srv_asyncio2 is an event loop in the coroutine style: each client has a
// coroutine, which is suspended where it would have to wait and resumed by the
// loop when it need not (listing 7-8).
//
// The conversation is the one of srv_single, unchanged: it reads, answers and
// writes as if it were alone. Python has to write it again, for there every
// function down to the read must say that it can be suspended; a coroutine of Go
// is suspended with all of its stack, and the code that stands on it cannot
// tell. The lines to look at are the calls of await.
//
// This is what Go does for every goroutine that waits for the network, inside
// its runtime. So nobody writes it by hand: srv_legacy is the same server.
package main

import (
	"iter"
	"log"
	"net"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/poll"
)

// The listing: what a user of the framework writes.

func handle(s *stream) { zen.HandleConversation(s) }

// The framework: what asyncio keeps out of sight.

// A stream is a client's socket as its coroutine sees it: one that can be waited
// for.
type stream struct {
	poller  *poll.Poller
	socket  poll.Socket
	address net.Addr
	await   func(poll.Event) // suspends the coroutine until socket is ready
}

// Read waits for something to arrive.
func (s *stream) Read(data []byte) (int, error) {
	for {
		s.await(poll.Readable)
		if n, err := s.socket.Recv(data); n > 0 || err != nil {
			return n, err
		}
	}
}

// Write waits until all of data is sent.
func (s *stream) Write(data []byte) (int, error) {
	sent := 0
	for {
		n, err := s.socket.Send(data[sent:])
		sent += n
		if err != nil || sent == len(data) {
			return sent, err
		}
		s.await(poll.Writable)
	}
}

func (s *stream) RemoteAddr() net.Addr { return s.address }

func (s *stream) Close() error {
	s.poller.Close(s.socket)
	return nil
}

// A loop runs coroutines, each in its turn: one runs until it waits, and
// meanwhile no other does. So nothing here needs a lock.
type loop struct {
	poller *poll.Poller
	// By the socket that it waits for, what resumes a coroutine, and returns what
	// it waits for next, or false where it has ended.
	coroutines map[poll.Socket]func() (poll.Event, bool)
}

// spawn starts a coroutine that waits for socket, which it will close.
func (l *loop) spawn(socket poll.Socket, body func(await func(poll.Event))) {
	resume, _ := iter.Pull(func(yield func(poll.Event) bool) {
		body(func(event poll.Event) { yield(event) })
	})
	l.coroutines[socket] = resume
	l.step(socket, poll.Readable)
}

// step resumes the coroutine that waits for socket, which is watched for event,
// until it waits again.
func (l *loop) step(socket poll.Socket, event poll.Event) {
	next, running := l.coroutines[socket]()
	switch {
	case !running:
		delete(l.coroutines, socket)
	case next != event:
		l.poller.Modify(socket, next)
	}
}

// serve accepts clients, in a coroutine too, and runs the loop. converse is each
// client's coroutine, and closes its stream.
func serve(tcp net.Listener, converse func(s *stream)) error {
	poller, listener, err := poll.New(tcp)
	if err != nil {
		return err
	}
	l := &loop{poller, map[poll.Socket]func() (poll.Event, bool){}}
	l.spawn(listener, func(await func(poll.Event)) {
		for {
			await(poll.Readable)
			if newcomer, address, ok := poller.Accept(listener); ok {
				l.spawn(newcomer, func(await func(poll.Event)) {
					converse(&stream{poller, newcomer, address, await})
				})
			}
		}
	})
	for socket, event := range poller.Events() {
		l.step(socket, event)
	}
	return nil // not reached
}

func main() {
	address := zen.ParseCommandLine("Coroutines on an event loop: any number of clients, one at work at a time.")
	listener := zen.Listen(address)
	log.Fatal(serve(listener, handle))
}
