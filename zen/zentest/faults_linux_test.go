package zentest

import (
	"context"
	"log"
	"net"
	"syscall"

	"fopnp/chapter07/zen"
)

func init() {
	faults = append(faults, fault{"OwnAnswers", "listens twice, and once wrong", `One of 16 clients`, listensTwice, Server{}})
}

// listensTwice has two listeners at one port, and one of them serves a server with
// a fault.
func listensTwice() {
	address := zen.ParseCommandLine("A server for tests.")
	const reusePort = 15 // SO_REUSEPORT, on Linux
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, reusePort, 1) })
	}}
	var listeners []zen.Listener
	for range 2 {
		listener, err := config.Listen(context.Background(), "tcp", address)
		if err != nil {
			log.Fatal(err)
		}
		listeners = append(listeners, zen.Listener{TCPListener: listener.(*net.TCPListener)})
	}
	log.Printf("Listening at %v", listeners[0].Addr())
	go accept(listeners[0], answered(mixesClients), nil)
	accept(listeners[1], converse, nil)
}
