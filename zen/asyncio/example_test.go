//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package asyncio_test

import (
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"fopnp/chapter07/zen/asyncio"
)

// An echo is the protocol of one client: it sends back what it receives.
type echo struct{ *asyncio.Transport }

func (e *echo) ConnectionMade(transport *asyncio.Transport) { e.Transport = transport }
func (e *echo) DataReceived(data []byte)                    { e.Write(data) }
func (e *echo) ConnectionLost(error)                        {}

// A client of a server that sends back what it receives.
func Example() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go asyncio.Serve(listener, func() asyncio.Protocol { return &echo{} })

	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(conn, "Is anybody there?")
	conn.(*net.TCPConn).CloseWrite()
	io.Copy(os.Stdout, conn)
	// Output: Is anybody there?
}
