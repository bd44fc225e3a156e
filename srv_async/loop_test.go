//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"runtime"
	"testing"
)

// Nothing is kept of a client that has left.
func TestClientsAreForgotten(t *testing.T) {
	log.SetOutput(io.Discard)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go serve(listener)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var conns [100]net.Conn // at the same time: each has a descriptor of its own
	for i := range conns {
		if conns[i], err = net.Dial("tcp", listener.Addr().String()); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conns[i], "%4000d", 0) // half a question
	}
	for _, conn := range conns {
		conn.(*net.TCPConn).CloseWrite()
		io.ReadAll(conn) // returns when the server has hung up
		conn.Close()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc - before.HeapAlloc); kept > 200_000 {
		t.Errorf("the loop keeps %d bytes of 100 clients that have sent 4000 each", kept)
	}
}
