package socketserver

import (
	"errors"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"testing"
)

func listen(t *testing.T) net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

func dial(t *testing.T, listener net.Listener) net.Conn {
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
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
		if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
			t.Errorf("read %q, %v, want the end", got, err)
		}
	}
	listener.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
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
	if got, err := io.ReadAll(victim); len(got) > 0 || err != nil {
		t.Errorf("the victim read %q, %v, want the end", got, err)
	}
	io.WriteString(other, "?")
	if got, err := io.ReadAll(other); string(got) != "?" || err != nil {
		t.Errorf("the other read %q, %v", got, err)
	}
	if got, want := <-lines, "Panic serving "+victim.LocalAddr().String()+": on purpose\n"; !strings.Contains(got, want) || !strings.Contains(got, "TestPanic") {
		t.Errorf("log: %q, want %q and the stack", got, want)
	}
}

type lineWriter chan string

func (w lineWriter) Write(line []byte) (int, error) {
	w <- string(line)
	return len(line), nil
}
