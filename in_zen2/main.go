//go:build unix

// In_zen2 answers one or more clients, one after the other, and leaves when there
// have been none for a while: inetd hands it the listening socket as its standard
// input (listing 7-11).
//
// Under inetd "wait" it is inetd that listens, and this program that accepts, as
// srv_single does. While it runs inetd looks away; when it has left, inetd waits
// for the next client to start it again.
package main

import (
	"errors"
	"log"
	"net"
	"os"
	"time"

	"fopnp/chapter07/zen"
)

const idleTime = 8 * time.Second

// An idleListener fails when nobody comes for idleTime. The clock starts again
// at each Accept: it is idle time that counts, not the time spent with a client.
type idleListener struct{ zen.Listener }

func (l idleListener) Accept() (net.Conn, error) {
	l.SetDeadline(time.Now().Add(idleTime))
	return l.Listener.Accept()
}

func main() {
	zen.RedirectOutput()
	listener, err := net.FileListener(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	os.Stdin.Close() // listener has a copy
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		log.Fatalf("standard input is no TCP socket: %v", listener.Addr())
	}
	err = zen.AcceptConnectionsForever(idleListener{zen.Listener{TCPListener: tcp}})
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		log.Fatal(err)
	}
	log.Printf("Waited %v seconds with no further connections; shutting down", idleTime.Seconds())
}
