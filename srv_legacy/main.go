// Srv_legacy is a server built on the standard library's server pattern:
// each client gets a goroutine of its own (listing 7-5).
//
// In srv_threaded each worker runs the accept loop. Here one loop accepts, and
// starts a goroutine for each client. The loop is in package socketserver, which
// knows nothing of Zen. The line to look at is the one that says go, in
// zen/socketserver/socketserver.go.
package main

import (
	"log"
	"net"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/socketserver"
)

// handle serves one client. It may block, because it has a goroutine to itself.
func handle(conn net.Conn) { zen.HandleConversation(conn) }

func main() {
	address := zen.ParseCommandLine("Threaded server: a goroutine for each client.")
	listener := zen.Listen(address)
	log.Fatal(socketserver.Serve(listener, handle))
}
