package socketserver_test

import (
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"fopnp/chapter07/zen/socketserver"
)

// A client of a server that sends back what it receives.
func Example() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go socketserver.Serve(listener, func(conn net.Conn) { io.Copy(conn, conn) })

	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(conn, "Is anybody there?")
	conn.(*net.TCPConn).CloseWrite()
	io.Copy(os.Stdout, conn)
	// Output: Is anybody there?
}
