//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package asyncore_test

import (
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"fopnp/chapter07/zen/asyncore"
	"fopnp/chapter07/zen/poll"
)

// An echo is the dispatcher of one client: it sends back what it receives.
type echo struct {
	poll.Socket
	unsent []byte
}

func (e *echo) Readable() bool    { return len(e.unsent) == 0 }
func (e *echo) Writable() bool    { return len(e.unsent) > 0 }
func (e *echo) HandleClose(error) {}

func (e *echo) HandleRead() error {
	data := make([]byte, 4096)
	n, err := e.Recv(data)
	e.unsent = data[:n]
	return err
}

func (e *echo) HandleWrite() error {
	n, err := e.Send(e.unsent)
	e.unsent = e.unsent[n:]
	return err
}

// A server makes the dispatchers.
type server struct{}

func (server) HandleAccepted(socket poll.Socket, _ net.Addr) asyncore.Dispatcher {
	return &echo{Socket: socket}
}

// A client of a server that sends back what it receives.
func Example() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go asyncore.Loop(listener, server{})

	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(conn, "Is anybody there?")
	conn.(*net.TCPConn).CloseWrite()
	io.Copy(os.Stdout, conn)
	// Output: Is anybody there?
}
