//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"io"
	"log"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A listener that the loop cannot wait for is an error.
func TestListenerWithoutSocket(t *testing.T) {
	if err := serve(struct{ net.Listener }{}); err == nil {
		t.Error("serve returned nil, want an error")
	}
}

// Nothing is kept of a client that has left.
func TestClientsAreForgotten(t *testing.T) {
	const clients, pending = 100, 4000
	left := make(leaving, clients)
	log.SetOutput(left)
	defer log.SetOutput(os.Stderr)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go serve(listener)
	before := heap()
	var conns []net.Conn
	for range clients { // all at once, so that each has a descriptor of its own
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, strings.Repeat("x", pending))
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		conn.Close()
		select {
		case <-left:
		case <-time.After(time.Minute):
			t.Fatal("the log does not say for a minute that a client has left")
		}
	}
	if grown := heap() - before; grown > clients*pending/2 {
		t.Errorf("%d clients have left, each in the middle of a question of %d bytes, and the loop keeps %d bytes", clients, pending, grown)
	}
}

func heap() int {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

// leaving is a log that tells which line is about a client that leaves.
type leaving chan bool

func (l leaving) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "socket closed") {
		l <- true
	}
	return len(line), nil
}
