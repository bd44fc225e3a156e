// Srv_threaded is a multithreaded server: four workers share one listening
// socket, so it serves four clients at a time (listing 7-4).
//
// Each worker runs what is the whole of srv_single. All that are free call Accept
// on the same socket, and one of them gets the new client. The fifth client is to
// them what the second is to srv_single.
package main

import (
	"log"
	"net"

	"fopnp/chapter07/zen"
)

const workers = 4

// serve runs the accept loop of srv_single in every worker. A goroutine
// is what Go has in place of a thread; one that first calls
// [runtime.LockOSThread] has a thread of the system to itself.
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
