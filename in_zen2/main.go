// In_zen2 answers one client after the other, and exits after 8 seconds without a
// new client: inetd passes it the listening socket as standard input (listing
// 7-11).
//
// Under "wait" inetd only listens. When the first client connects it starts this
// program, which accepts that client and all others, as srv_single does. When the
// program has exited, inetd waits for the next client, so the service takes no memory
// while nobody asks. The line to look at is the one that calls AcceptConnectionsForever.
package main

import (
	"errors"
	"log"
	"os"
	"time"

	"fopnp/chapter07/zen"
)

func main() {
	zen.RedirectOutput() // to a log: the client must not get it
	listener := zen.StdinListener()
	listener.Timeout = 8 * time.Second
	err := zen.AcceptConnectionsForever(listener)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		log.Fatal(err)
	}
	log.Print("Waited 8 seconds with no further connections; shutting down")
}
