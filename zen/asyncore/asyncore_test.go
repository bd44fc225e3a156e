//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package asyncore

import (
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"weak"

	"fopnp/chapter07/zen/poll"
)

var errRead, errWrite = errors.New("of HandleRead"), errors.New("of HandleWrite")

// A failing dispatcher waits for both events, and fails at each.
type failing struct {
	poll.Socket
	closed chan error // what HandleClose got
}

func (f *failing) Readable() bool        { return true }
func (f *failing) Writable() bool        { return true }
func (f *failing) HandleRead() error     { return errRead }
func (f *failing) HandleWrite() error    { return errWrite }
func (f *failing) HandleClose(err error) { f.Send([]byte("Bye.")); f.closed <- err }

// A server makes failing dispatchers.
type server struct {
	made   chan weak.Pointer[failing]
	closed chan error
}

func (s *server) HandleAccepted(socket poll.Socket, _ net.Addr) Dispatcher {
	f := &failing{socket, s.closed}
	s.made <- weak.Make(f)
	return f
}

// If a socket is ready for both, sending comes first.
func TestBoth(t *testing.T) {
	event := wanted(&failing{})
	if err := handle(&failing{}, event); event != poll.Readable|poll.Writable || err != errWrite {
		t.Errorf("of the events %v, want both, the first error is %v, want %v", event, err, errWrite)
	}
}

// When a dispatcher fails, the loop calls HandleClose, then hangs up, and forgets the
// dispatcher.
func TestErrorEnds(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{make(chan weak.Pointer[failing], 2), make(chan error, 2)}
	go Loop(listener, s)
	for range 2 {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got, err := io.ReadAll(conn); string(got) != "Bye." || err != nil {
			t.Errorf("read %q, %v; want Bye. and the end", got, err)
		}
		if err := <-s.closed; err != errWrite {
			t.Errorf("HandleClose(%v), want the error %v", err, errWrite)
		}
	}
	runtime.GC() // the loop has the second dispatcher in its hands
	if (<-s.made).Value() != nil {
		t.Error("the loop keeps the first dispatcher")
	}
}

// A listener that is not a socket is an error.
func TestLoopFails(t *testing.T) {
	if Loop(struct{ net.Listener }{}, nil) == nil {
		t.Error("no error")
	}
}
