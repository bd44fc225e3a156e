//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package asyncore

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"fopnp/chapter07/zen/poll"
)

// A server makes the dispatcher of each client.
type server func(socket poll.Socket) Dispatcher

func (s server) HandleAccepted(socket poll.Socket, address net.Addr) Dispatcher { return s(socket) }

// A base is a dispatcher that waits for something to receive, and discards that.
type base struct{ poll.Socket }

func (b *base) Readable() bool        { return true }
func (b *base) Writable() bool        { return false }
func (b *base) HandleRead() error     { _, err := b.Recv(make([]byte, 4096)); return err }
func (b *base) HandleWrite() error    { return nil }
func (b *base) HandleClose(err error) {}

// patience is how long a test waits for what must happen, at each step, and quiet
// how long it watches for what must not.
const patience, quiet = 30 * time.Second, 50 * time.Millisecond

// serve runs a loop, and returns a function that connects a client.
func serve(t *testing.T, newDispatcher server) (dial func() *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go Loop(listener, newDispatcher)
	return func() *net.TCPConn {
		t.Helper()
		conn, err := net.DialTimeout("tcp", listener.Addr().String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(patience))
		return conn.(*net.TCPConn)
	}
}

func expect(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(patience))
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); string(got) != want {
		t.Fatalf("read %q, %v, want %q", got[:n], err, want)
	}
}

func expectEnd(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(patience))
	if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
		t.Errorf("read %q, %v, want the end", got, err)
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

// A greeter wants to send first, and after that waits for nothing until told.
type greeter struct {
	base
	greeted bool
	closed  chan error
}

func (g *greeter) Readable() bool { return false }
func (g *greeter) Writable() bool { return !g.greeted }
func (g *greeter) HandleWrite() error {
	_, err := g.Send([]byte("Hello."))
	g.greeted = true
	return err
}
func (g *greeter) HandleRead() error     { return errors.New("not asked for") }
func (g *greeter) HandleClose(err error) { g.closed <- err }

// A dispatcher that starts with something to send is asked before the loop waits.
// One that wants nothing hears nothing, not even a reset.
func TestGreetingThenNothing(t *testing.T) {
	closed := make(chan error, 1)
	conn := serve(t, func(s poll.Socket) Dispatcher { return &greeter{base: base{s}, closed: closed} })()
	expect(t, conn, "Hello.")
	io.WriteString(conn, "?")
	conn.SetLinger(0)
	conn.Close()
	select {
	case err := <-closed:
		t.Errorf("HandleClose(%v)", err)
	case <-time.After(quiet):
	}
}

// A both wants to read and to write at once.
type both struct {
	base
	unsent []byte
	writes int
	closed chan error
}

func (b *both) Writable() bool { return b.writes < 3 || len(b.unsent) > 0 }
func (b *both) HandleRead() error {
	data := make([]byte, 100)
	n, err := b.Recv(data)
	b.unsent = append(b.unsent, data[:n]...)
	return err
}
func (b *both) HandleWrite() error {
	b.writes++
	n, err := b.Send(b.unsent)
	b.unsent = b.unsent[n:]
	return err
}
func (b *both) HandleClose(err error) { b.closed <- err }

// Writing does not keep reading from its turn. A client that leaves ends nothing but
// its own conversation.
func TestBothAtOnce(t *testing.T) {
	closed := make(chan error, 1)
	dial := serve(t, func(s poll.Socket) Dispatcher { return &both{base: base{s}, closed: closed} })
	for range 2 {
		conn := dial()
		for range 3 {
			io.WriteString(conn, "Beautiful")
			expect(t, conn, "Beautiful")
		}
		conn.Close()
		if err := receive(t, closed); err != io.EOF {
			t.Errorf("HandleClose(%v), want the end", err)
		}
	}
}

// A client that leaves is hung up on.
func TestLeaves(t *testing.T) {
	conn := serve(t, func(s poll.Socket) Dispatcher { return &base{s} })()
	io.WriteString(conn, "Beautiful")
	conn.CloseWrite()
	expectEnd(t, conn)
}

// An error that a dispatcher returns ends its own client, and no other.
func TestErrorEndsTheClient(t *testing.T) {
	reason := errors.New("on purpose")
	closed := make(chan error, 1)
	first := true
	dial := serve(t, func(s poll.Socket) Dispatcher {
		if first {
			first = false
			return &failing{base{s}, reason, closed}
		}
		return &both{base: base{s}, closed: closed}
	})
	victim := dial()
	io.WriteString(victim, "?")
	expectEnd(t, victim)
	if err := receive(t, closed); err != reason {
		t.Errorf("HandleClose(%v), want %v", err, reason)
	}
	other := dial()
	io.WriteString(other, "Beautiful")
	expect(t, other, "Beautiful")
}

type failing struct {
	base
	reason error
	closed chan error
}

func (f *failing) HandleRead() error     { return f.reason }
func (f *failing) HandleClose(err error) { f.closed <- err }

// If a socket is ready for both, sending comes first.
func TestWritesFirst(t *testing.T) {
	var calls []string
	h := &ordered{calls: &calls}
	if err := errors.Join(handle(h, poll.Readable|poll.Writable), handle(h, poll.Readable), handle(h, poll.Writable)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(calls, " "); got != "write read write" {
		t.Errorf("calls: %s", got)
	}
}

type ordered struct {
	base
	calls *[]string
}

func (o *ordered) HandleRead() error  { *o.calls = append(*o.calls, "read"); return nil }
func (o *ordered) HandleWrite() error { *o.calls = append(*o.calls, "write"); return nil }

// HandleClose is called before the client can see that the connection is closed,
// and the loop forgets the dispatcher then.
func TestClosedLast(t *testing.T) {
	closing, closed, forgotten := make(chan struct{}), make(chan struct{}), make(chan struct{})
	conn := serve(t, func(s poll.Socket) Dispatcher {
		h := &pausing{base{s}, closing, closed}
		runtime.AddCleanup(h, func(c chan struct{}) { close(c) }, forgotten)
		return h
	})()
	io.WriteString(conn, "?")
	receive(t, closing)
	conn.SetReadDeadline(time.Now().Add(quiet))
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes, %v, before HandleClose has returned", n, err)
	}
	close(closed)
	conn.Close()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		runtime.GC()
		select {
		case <-forgotten:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Error("the dispatcher is not freed")
}

type pausing struct {
	base
	closing, closed chan struct{}
}

func (p *pausing) HandleRead() error     { return io.EOF }
func (p *pausing) HandleClose(err error) { close(p.closing); <-p.closed }

// A listener that is not a socket is an error.
func TestLoopFails(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := Loop(struct{ net.Listener }{listener}, server(nil)); err == nil {
		t.Error("no error")
	}
}
