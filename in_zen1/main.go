//go:build unix

// In_zen1 answers a single client, whose socket is its standard input, output
// and error: inetd runs one such process for each client (listing 7-10).
//
// Under inetd "nowait" it is inetd that listens and accepts; the architecture of
// srv_legacy, with processes, is there for the asking. The program is what is
// left of a server without it: no address, no listener, no loop.
package main

import (
	"log"
	"net"
	"os"

	"fopnp/chapter07/zen"
)

func main() {
	zen.RedirectOutput()
	conn, err := net.FileConn(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	os.Stdin.Close() // conn has a copy
	if conn.RemoteAddr() == nil {
		log.Print("standard input is not connected: its client has gone, or inetd.conf says wait")
		return
	}
	zen.HandleConversation(conn)
}
