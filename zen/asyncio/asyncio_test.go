//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package asyncio

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A recorder is a protocol made of functions, which also records the calls.
type recorder struct {
	*Transport
	made     func(r *recorder)
	received func(r *recorder, data []byte)
	whenLost func()
	lost     chan error
	calls    []string
}

func (r *recorder) ConnectionMade(transport *Transport) {
	r.Transport = transport
	r.calls = append(r.calls, "made")
	if r.made != nil {
		r.made(r)
	}
}

func (r *recorder) DataReceived(data []byte) {
	r.calls = append(r.calls, "data")
	if r.received != nil {
		r.received(r, data)
	}
}

func (r *recorder) ConnectionLost(err error) {
	r.calls = append(r.calls, "lost")
	if r.whenLost != nil {
		r.whenLost()
	}
	r.lost <- err
}

// patience is how long a test waits for what must happen, at each step, and quiet
// how long it watches for what must not.
const patience, quiet = 30 * time.Second, 50 * time.Millisecond

// A client waits for each Read and Write for patience at most.
type client struct{ *net.TCPConn }

func (c client) Read(data []byte) (int, error) {
	c.SetReadDeadline(time.Now().Add(patience))
	return c.TCPConn.Read(data)
}

func (c client) Write(data []byte) (int, error) {
	c.SetWriteDeadline(time.Now().Add(patience))
	return c.TCPConn.Write(data)
}

// serve starts a loop, and returns a function that connects a client.
func serve(t *testing.T, newProtocol func() Protocol) (dial func() client) {
	t.Helper()
	listener, err := (&net.ListenConfig{Control: smallBuffers}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go Serve(listener, newProtocol)
	dialer := net.Dialer{Timeout: patience, Control: smallBuffers}
	return func() client {
		t.Helper()
		conn, err := dialer.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return client{conn.(*net.TCPConn)}
	}
}

// smallBuffers limits what the system keeps for a connection, on its way in each
// direction, to a part of large.
func smallBuffers(_, _ string, socket syscall.RawConn) error {
	return socket.Control(func(fd uintptr) {
		for _, option := range []int{syscall.SO_RCVBUF, syscall.SO_SNDBUF} {
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, option, large/32)
		}
	})
}

// large is more than the system keeps for a connection.
const large = 2 << 20

// serveOne starts a loop with one recorder for one client, and connects that client.
func serveOne(t *testing.T, r *recorder) client {
	t.Helper()
	r.lost = make(chan error, 10)
	return serve(t, func() Protocol { return r })()
}

func expect(t *testing.T, conn client, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); string(got) != want {
		t.Fatalf("read %.60q, %v; want %.60q", got[:n], err, want)
	}
}

// expectEnd expects want, and then the end of the stream.
func expectEnd(t *testing.T, conn client, want string) {
	t.Helper()
	if got, err := io.ReadAll(conn); string(got) != want || err != nil {
		t.Errorf("read %d bytes, %.60q, %v; want %d, %.60q, and the end", len(got), got, err, len(want), want)
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

func (r *recorder) expectLost(t *testing.T, want error, calls string) {
	t.Helper()
	if err := receive(t, r.lost); !errors.Is(err, want) {
		t.Errorf("ConnectionLost(%v), want %v", err, want)
	}
	if got := strings.Join(r.calls, " "); got != calls {
		t.Errorf("calls: %s, want %s", got, calls)
	}
	select {
	case err := <-r.lost:
		t.Errorf("ConnectionLost(%v) again", err)
	case <-time.After(quiet):
	}
}

func TestEcho(t *testing.T) {
	var available []int
	r := &recorder{received: func(r *recorder, data []byte) {
		available = append(available, cap(r.AvailableBuffer()))
		r.Write(data[:1])
		r.Write(append(r.AvailableBuffer(), data[1:]...))
	}}
	conn := serveOne(t, r)
	for _, text := range []string{"Beautiful", "is better than", "ugly"} {
		io.WriteString(conn, text)
		expect(t, conn, text)
	}
	if got, want := r.RemoteAddr().String(), conn.LocalAddr().String(); got != want {
		t.Errorf("the client's address is %s, want %s", got, want)
	}
	conn.Close()
	r.expectLost(t, io.EOF, "made data data data lost")
	for _, size := range available[1:] {
		if size < len("Beautiful") {
			t.Errorf("after 9 bytes were sent there is a buffer of %d", size)
		}
	}
}

// What ConnectionMade writes is sent, whether it closes or not.
func TestGreeting(t *testing.T) {
	reason := errors.New("closed on purpose")
	for _, closing := range []bool{false, true} {
		r := &recorder{made: func(r *recorder) {
			r.Write([]byte("Hello."))
			if closing {
				r.CloseWithError(reason)
			}
		}}
		conn := serveOne(t, r)
		expect(t, conn, "Hello.")
		want := reason
		if !closing {
			conn.Close()
			want = io.EOF
		}
		r.expectLost(t, want, "made lost")
	}
}

// Close hangs up when everything is sent, however slowly the client reads, and
// nothing is received meanwhile.
func TestCloseWithUnsent(t *testing.T) {
	reason := errors.New("closed on purpose")
	text := strings.Repeat("U", large)
	r := &recorder{received: func(r *recorder, data []byte) {
		r.Write([]byte(text))
		r.CloseWithError(reason)
	}}
	conn := serveOne(t, r)
	io.WriteString(conn, "?")
	expect(t, conn, text[:1])
	io.WriteString(conn, "?") // not to be received
	select {
	case err := <-r.lost:
		t.Errorf("ConnectionLost(%v) before everything is sent", err)
	case <-time.After(quiet):
	}
	expectEnd(t, conn, text[1:])
	r.expectLost(t, reason, "made data lost")
}

// A single byte waits too until there is room for it.
func TestOneByteUnsent(t *testing.T) {
	reason := errors.New("closed on purpose")
	filled := make(chan int, 1)
	r := &recorder{received: func(r *recorder, data []byte) {
		sent := 0
		for last := time.Now(); time.Since(last) < quiet; { // so that there is no room
			if n, _ := r.socket.Send(make([]byte, large)); n > 0 {
				sent, last = sent+n, time.Now()
			}
		}
		filled <- sent
		r.Write([]byte("."))
		r.CloseWithError(reason)
	}}
	conn := serveOne(t, r)
	io.WriteString(conn, "?")
	expectEnd(t, conn, string(make([]byte, receive(t, filled)))+".")
	r.expectLost(t, reason, "made data lost")
}

// A reset while something is unsent is the end, and the reason for it, even if the
// protocol has closed.
func TestResetWithUnsent(t *testing.T) {
	reason := errors.New("closed on purpose")
	r := &recorder{received: func(r *recorder, data []byte) {
		r.Write(make([]byte, large))
		r.CloseWithError(reason)
	}}
	conn := serveOne(t, r)
	io.WriteString(conn, "?")
	expect(t, conn, "\x00")
	conn.SetLinger(0)
	conn.Close()
	if err := receive(t, r.lost); err == nil || err == io.EOF || err == reason {
		t.Errorf("ConnectionLost(%v) after a reset", err)
	}
}

// ConnectionLost is called before the client can see that the connection is closed.
func TestLostBeforeClosed(t *testing.T) {
	closing, closed := make(chan struct{}), make(chan struct{})
	r := &recorder{received: func(r *recorder, data []byte) { r.Close() }}
	r.whenLost = func() { close(closing); <-closed }
	conn := serveOne(t, r)
	io.WriteString(conn, "?")
	receive(t, closing)
	conn.SetReadDeadline(time.Now().Add(quiet))
	if n, err := conn.TCPConn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes, %v, before ConnectionLost has returned", n, err)
	}
	close(closed)
	r.expectLost(t, io.EOF, "made data lost")
}

// The loop forgets a protocol whose connection is lost.
func TestProtocolIsForgotten(t *testing.T) {
	var once sync.Once
	forgotten := make(chan struct{})
	lost := make(chan error, 1)
	dial := serve(t, func() Protocol {
		r := &recorder{lost: lost}
		once.Do(func() { runtime.AddCleanup(r, func(c chan struct{}) { close(c) }, forgotten) })
		return r
	})
	dial().Close()
	receive(t, lost)
	dial() // the loop does not hold its last client longer
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		runtime.GC()
		select {
		case <-forgotten:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Error("the protocol is not freed")
}

// A listener that is not a socket is an error.
func TestServeFails(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := Serve(struct{ net.Listener }{listener}, nil); err == nil {
		t.Error("no error")
	}
}

// Buffered tells what is unsent, and what is written after Close is not sent.
func TestBuffered(t *testing.T) {
	r := &recorder{received: func(r *recorder, data []byte) {
		r.Write([]byte("Ugly."))
		r.Write([]byte("Complex."))
		if n := r.Buffered(); n != len("Ugly.Complex.") {
			t.Errorf("%d bytes are unsent", n)
		}
		r.Close()
		if n, err := r.Write([]byte("Implicit.")); n != 0 || err != net.ErrClosed {
			t.Errorf("Write after Close: %d, %v", n, err)
		}
	}}
	conn := serveOne(t, r)
	io.WriteString(conn, "?")
	expectEnd(t, conn, "Ugly.Complex.")
	r.expectLost(t, io.EOF, "made data lost")
}

// The first reason to close is the one that counts, and nil is an ordinary end.
func TestCloseTwice(t *testing.T) {
	reason := errors.New("closed on purpose")
	for _, test := range []struct{ first, want error }{{reason, reason}, {nil, io.EOF}} {
		r := &recorder{received: func(r *recorder, data []byte) {
			r.CloseWithError(test.first)
			r.CloseWithError(errors.New("too late"))
			r.Close()
		}}
		conn := serveOne(t, r)
		io.WriteString(conn, "?")
		expectEnd(t, conn, "")
		r.expectLost(t, test.want, "made data lost")
	}
}

// Of a large write the loop keeps nothing when it is sent, and copies none of it again
// meanwhile.
func TestLargeWrite(t *testing.T) {
	const size = 32 << 20
	r := &recorder{received: func(r *recorder, data []byte) {
		if data[0] == '?' {
			r.Write(make([]byte, size))
		}
		r.Write([]byte("."))
	}}
	conn := serveOne(t, r)
	io.WriteString(conn, "!")
	expect(t, conn, ".")
	var before, sent, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	io.WriteString(conn, "?")
	if n, err := io.CopyN(io.Discard, conn, size+1); err != nil {
		t.Fatalf("the client read %d bytes, %v", n, err)
	}
	io.WriteString(conn, "!") // is answered when the loop has handled the rest
	expect(t, conn, ".")
	runtime.ReadMemStats(&sent)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 1<<20 {
		t.Errorf("the loop keeps %d bytes", kept)
	}
	// The protocol makes the data, Write copies it, and a byte behind it may need that
	// copy to grow once.
	if allocated := sent.TotalAlloc - before.TotalAlloc; allocated > 5*size {
		t.Errorf("%d bytes are allocated to send %d", allocated, size)
	}
}
