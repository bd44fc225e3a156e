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

// A handler that panics loses its client, and the log says why, once. Serve goes on
// until Accept fails, and returns that error.
func TestPanic(t *testing.T) {
	var text strings.Builder
	log.SetOutput(&text)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() { failed <- Serve(listener, func(net.Conn) { panic("on purpose") }) }()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
		t.Errorf("read %q, %v; want the end", got, err)
	}
	listener.Close()
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is closed, and Serve returns %v", err)
	}
	log.SetOutput(os.Stderr) // nobody writes to text any more
	reason := "Panic serving " + conn.LocalAddr().String() + ": on purpose\n"
	if got := text.String(); strings.Count(got, "Panic serving") != 1 || !strings.Contains(got, reason) || !strings.Contains(got, "TestPanic") {
		t.Errorf("log: %s\nwant %s and the stack, once", got, reason)
	}
}
