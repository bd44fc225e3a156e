package socketserver

import (
	"errors"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen, at each step.
const patience = 30 * time.Second

func listen(t *testing.T) net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

func dial(t *testing.T, listener net.Listener) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", listener.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// expectEnd expects want, and then the end of the stream.
func expectEnd(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(patience))
	if got, err := io.ReadAll(conn); string(got) != want || err != nil {
		t.Fatalf("read %q, %v, want %q and the end", got, err, want)
	}
}

// receive returns the next value of c.
func receive[T any](t *testing.T, c <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-c:
	case <-time.After(patience):
		t.Fatalf("nothing after %v", patience)
	}
	return value
}

// Each connection has its own goroutine: the first handler waits for the second.
// Serve closes the connections, and returns when the listener is closed.
func TestServe(t *testing.T) {
	listener := listen(t)
	served := make(chan error)
	meet := make(chan struct{})
	go func() {
		served <- Serve(listener, func(conn net.Conn) {
			select {
			case meet <- struct{}{}:
			case <-meet:
			}
		})
	}()
	first, second := dial(t, listener), dial(t, listener)
	for _, conn := range []net.Conn{first, second} {
		expectEnd(t, conn, "")
	}
	listener.Close()
	if err := receive(t, served); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve returned %v", err)
	}
}

// A handler that panics loses its own client, and the log says why.
func TestPanic(t *testing.T) {
	lines := make(lineWriter, 10)
	log.SetOutput(lines)
	defer log.SetOutput(os.Stderr)
	listener := listen(t)
	go Serve(listener, func(conn net.Conn) {
		question := make([]byte, 1)
		io.ReadFull(conn, question)
		if question[0] == '!' {
			panic("on purpose")
		}
		conn.Write(question)
	})
	other := dial(t, listener)
	victim := dial(t, listener)
	io.WriteString(victim, "!")
	expectEnd(t, victim, "")
	io.WriteString(other, "?")
	expectEnd(t, other, "?")
	if got, want := receive(t, lines), "Panic serving "+victim.LocalAddr().String()+": on purpose\n"; !strings.Contains(got, want) || !strings.Contains(got, "TestPanic") {
		t.Errorf("log: %q, want %q and the stack", got, want)
	}
	if len(lines) > 0 {
		t.Errorf("another line in the log: %q", <-lines)
	}
}

type lineWriter chan string

func (w lineWriter) Write(line []byte) (int, error) {
	w <- string(line)
	return len(line), nil
}
