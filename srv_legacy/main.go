// Srv_legacy is a threaded server built on the standard library's server
// pattern: a goroutine for every connection, as many as there are (listing 7-5).
//
// Where srv_threaded has a fixed number of workers, each of which accepts, here
// one loop accepts and starts a goroutine for each client. What to do with the
// client is behind an interface, so that the server knows nothing of Zen.
// The line to look at is the one that says go.
package main

import (
	"log"
	"net"
	"runtime/debug"

	"fopnp/chapter07/zen"
)

// The listing: what a user of the pattern writes.

func handle(conn net.Conn) { zen.HandleConversation(conn) }

// The framework: what socketserver is in Python and net/http's server in Go.

// A Handler serves one client. It may wait as long as it likes: it has a
// goroutine to itself. The connection is closed when Handle returns.
type Handler interface {
	Handle(conn net.Conn)
}

// HandlerFunc makes a Handler of a function.
type HandlerFunc func(conn net.Conn)

// Handle calls f.
func (f HandlerFunc) Handle(conn net.Conn) { f(conn) }

// A Server hands every client that a listener accepts to its Handler.
type Server struct{ Handler Handler }

// Serve accepts until listener fails for good, and returns its error.
func (s Server) Serve(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go s.serve(conn) // and back to Accept, while the client is served
	}
}

// serve calls the Handler. One that panics loses its own client and no other.
func (s Server) serve(conn net.Conn) {
	defer func() {
		if reason := recover(); reason != nil {
			log.Printf("Panic serving %v: %v\n%s", conn.RemoteAddr(), reason, debug.Stack())
		}
		conn.Close() // again, if the Handler has: that does no harm
	}()
	s.Handler.Handle(conn)
}

func main() {
	address := zen.ParseCommandLine("Threaded server: a goroutine for every client.")
	listener := zen.Listen(address)
	log.Fatal(Server{HandlerFunc(handle)}.Serve(listener))
}
