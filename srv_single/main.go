// Srv_single is the simplest possible server: single-threaded, it serves one
// client at a time (listing 7-3).
//
// While it waits for its client's next question it can do nothing else. The
// second client connects, for the kernel sees to that, and waits in the
// kernel's queue until the first one leaves.
package main

import (
	"log"

	"fopnp/chapter07/zen"
)

func main() {
	address := zen.ParseCommandLine("Single-threaded server: one client at a time.")
	listener := zen.Listen(address)
	log.Fatal(zen.AcceptConnectionsForever(listener))
}
