// In_zen1 answers a single client. Its standard input, output and error are the
// client's socket: inetd starts one such process for each client (listing 7-10).
//
// Under "nowait" inetd does what srv_legacy does: it listens, accepts, and starts
// a process where srv_legacy starts a goroutine. What is left to the program is
// one conversation. The line to look at is the one that calls HandleConversation.
package main

import "fopnp/chapter07/zen"

func main() {
	zen.RedirectOutput() // to a log: the client must not get it
	zen.HandleConversation(zen.StdinConn())
}
