//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Two conversations interleave, and neither runs while the other does. What they
// share here has no lock: the race detector would tell.
func TestConversationsInterleave(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var trace []string
	running := 0
	finished := make(chan []string)
	go serve(listener, func(s *stream) {
		defer s.Close()
		data := make([]byte, 1)
		for {
			n, err := s.Read(data)
			if err != nil {
				finished <- trace
				return
			}
			if running++; running != 1 {
				t.Errorf("%d coroutines run", running)
			}
			trace = append(trace, string(data[:n]))
			runtime.Gosched() // let another run, if one can
			running--
			if _, err := s.Write(data[:n]); err != nil {
				t.Error(err)
			}
		}
	})
	a, b := dial(t, listener), dial(t, listener)
	for range 3 {
		echo(t, a, "a")
		echo(t, b, "b")
	}

	// Both wait as suspended coroutines, not as goroutines that wait for the
	// network. The third is the one that accepts.
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if n := strings.Count(string(stacks), " [coroutine"); n != 3 {
		t.Errorf("%d suspended coroutines, want 3", n)
	}
	if strings.Contains(string(stacks), "[IO wait") {
		t.Errorf("a goroutine waits for the network:\n%s", stacks)
	}

	// Both at once: each runs to where it must wait, whatever the other does.
	for range 100 {
		io.WriteString(a, "a")
		io.WriteString(b, "b")
		expect(t, a, "a")
		expect(t, b, "b")
	}
	a.CloseWrite()
	got := <-finished
	if want := strings.Split("ababab", ""); !slices.Equal(got[:6], want) || len(got) != 206 {
		t.Errorf("%d pieces, the first %q, want 206 and %q", len(got), got[:6], want)
	}
}

func dial(t *testing.T, listener net.Listener) *net.TCPConn {
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn.(*net.TCPConn)
}

func echo(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	io.WriteString(conn, text)
	expect(t, conn, text)
}

func expect(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); string(got) != want {
		t.Fatalf("read %q, %v, want %q", got[:n], err, want)
	}
}
