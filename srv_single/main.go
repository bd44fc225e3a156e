// Srv_single is the simplest possible server: it is single-threaded, and serves
// one client at a time (listing 7-3).
//
// While its client is silent, or does not read the answers, it serves nobody else. A
// second client can connect, because the kernel accepts it into a queue, but gets no
// answer until the first client leaves. The line to look at is the one that calls
// AcceptConnectionsForever: its loop is in zen/blocking.go.
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
