// Package socketserver is the server pattern of listing 7-5: a goroutine for
// each connection. It takes the place of Python's socketserver module. The server
// of net/http works the same way.
package socketserver

import (
	"log"
	"net"
	"runtime/debug"
)

// Serve accepts connections from listener, and calls handle for each one in a new
// goroutine. It returns the error of listener's Accept. The caller still owns
// listener.
//
// Serve closes the connection when handle returns; handle may close it earlier. If
// handle panics, Serve logs the panic and closes that connection. Without this the panic
// would end the process.
func Serve(listener net.Listener, handle func(net.Conn)) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go process(conn, handle) // and accept the next one at once
	}
}

func process(conn net.Conn, handle func(net.Conn)) {
	defer conn.Close()
	defer func() {
		if reason := recover(); reason != nil {
			log.Printf("Panic serving %v: %v\n%s", conn.RemoteAddr(), reason, debug.Stack())
		}
	}()
	handle(conn)
}
