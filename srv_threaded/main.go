// Srv_threaded is a multithreaded server: four workers share one listening
// socket, so it serves four clients at a time (listing 7-4).
//
// Each worker does what srv_single does: it accepts a client, serves it until it
// leaves, and accepts the next one. A fifth client waits, as the second client of
// srv_single does. The line to look at is the one that says go: a goroutine takes
// the place of Python's thread.
package main

import (
	"log"
	"net"

	"fopnp/chapter07/zen"
)

const workers = 4

func serve(listener net.Listener) error {
	failed := make(chan error)
	for range workers {
		go func() { failed <- zen.AcceptConnectionsForever(listener) }()
	}
	return <-failed
}

func main() {
	address := zen.ParseCommandLine("Multithreaded server: four clients at a time.")
	listener := zen.Listen(address)
	log.Fatal(serve(listener))
}
