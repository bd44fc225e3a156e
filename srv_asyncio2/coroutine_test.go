//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"fopnp/chapter07/zen/asyncio"
)

// A conversation that waits is a suspended coroutine, and not a goroutine that
// waits for the network. Two of them take turns.
func TestCoroutines(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go asyncio.Serve(listener, func() asyncio.Protocol { return &zenServer{} })
	var conns []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	for _, piece := range []string{"Simple is ", "better than?Simple", " is better than?"} {
		for _, conn := range conns {
			io.WriteString(conn, piece)
		}
		if !strings.Contains(piece, "?") {
			continue
		}
		for _, conn := range conns {
			got := make([]byte, len("Complex."))
			conn.SetReadDeadline(time.Now().Add(time.Minute))
			if n, err := io.ReadFull(conn, got); string(got) != "Complex." {
				t.Fatalf("read %q, %v, want the answer", got[:n], err)
			}
		}
	}
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if n := strings.Count(string(stacks), " [coroutine"); n != 2 {
		t.Errorf("%d suspended coroutines, want 2:\n%s", n, stacks)
	}
	if strings.Contains(string(stacks), "[IO wait") {
		t.Errorf("a goroutine waits for the network:\n%s", stacks)
	}
}
