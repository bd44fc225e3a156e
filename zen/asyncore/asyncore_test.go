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
type failing struct{ closed chan error }

func (f *failing) Readable() bool        { return true }
func (f *failing) Writable() bool        { return true }
func (f *failing) HandleRead() error     { return errRead }
func (f *failing) HandleWrite() error    { return errWrite }
func (f *failing) HandleClose(err error) { f.closed <- err }

// If a socket is ready for both, sending comes first.
func TestBoth(t *testing.T) {
	const readAndWrite = poll.Readable | poll.Writable
	f := &failing{}
	if event := wanted(f); event != readAndWrite {
		t.Errorf("wanted: %v, want %v", event, readAndWrite)
	}
	if err := handle(f, readAndWrite); err != errWrite {
		t.Errorf("handle: the error %v, want that %v", err, errWrite)
	}
}

// A server makes the dispatchers.
type server func() Dispatcher

func (s server) HandleAccepted(poll.Socket, net.Addr) Dispatcher { return s() }

// When a dispatcher fails, the loop calls HandleClose, hangs up, and forgets the
// dispatcher.
func TestErrorEnds(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dispatchers, closed := make(chan weak.Pointer[failing], 2), make(chan error, 2)
	go Loop(listener, server(func() Dispatcher {
		f := &failing{closed}
		dispatchers <- weak.Make(f)
		return f
	}))
	for range 2 {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
			t.Errorf("read %q, %v; want the end", got, err)
		}
		if err := <-closed; err != errWrite {
			t.Errorf("HandleClose(%v), want the error %v", err, errWrite)
		}
	}
	runtime.GC() // the loop has the second dispatcher in its hands
	if (<-dispatchers).Value() != nil {
		t.Error("the loop keeps the first dispatcher")
	}
}

// A listener that is not a socket is an error.
func TestLoopFails(t *testing.T) {
	if err := Loop(struct{ net.Listener }{}, nil); err == nil {
		t.Error("no error")
	}
}
