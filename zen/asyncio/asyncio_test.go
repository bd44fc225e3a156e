//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package asyncio

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
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

// serve starts a loop with one recorder for one client, and connects that client.
func serve(t *testing.T, r *recorder) *net.TCPConn {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.lost = make(chan error, 10)
	go Serve(listener, func() Protocol { return r })
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn.(*net.TCPConn)
}

func (r *recorder) expectLost(t *testing.T, want error, calls string) {
	t.Helper()
	select {
	case err := <-r.lost:
		if !errors.Is(err, want) {
			t.Errorf("ConnectionLost(%v), want %v", err, want)
		}
		if got := strings.Join(r.calls, " "); got != calls {
			t.Errorf("calls: %s, want %s", got, calls)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("ConnectionLost is not called; calls: %v", r.calls)
	}
	select {
	case err := <-r.lost:
		t.Errorf("ConnectionLost(%v) again", err)
	case <-time.After(50 * time.Millisecond):
	}
}

func TestEcho(t *testing.T) {
	r := &recorder{received: func(r *recorder, data []byte) {
		r.Write(data[:1])
		r.Write(append(r.AvailableBuffer(), data[1:]...))
	}}
	conn := serve(t, r)
	for _, text := range []string{"Beautiful", "is better than", "ugly"} {
		io.WriteString(conn, text)
		got := make([]byte, len(text))
		if _, err := io.ReadFull(conn, got); string(got) != text || err != nil {
			t.Errorf("read %q, %v, want %q", got, err, text)
		}
	}
	if got, want := r.RemoteAddr().String(), conn.LocalAddr().String(); got != want {
		t.Errorf("the client's address is %s, want %s", got, want)
	}
	conn.Close()
	r.expectLost(t, io.EOF, "made data data data lost")
}

// What ConnectionMade writes is sent, whether it closes or not.
func TestGreeting(t *testing.T) {
	reason := errors.New("closed on purpose")
	for _, closing := range []bool{false, true} {
		r := &recorder{made: func(r *recorder) {
			r.Write([]byte("Hello."))
			if closing {
				r.Close(reason)
			}
		}}
		conn := serve(t, r)
		got := make([]byte, len("Hello."))
		if _, err := io.ReadFull(conn, got); string(got) != "Hello." || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
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
	text := strings.Repeat("Ugly.", 1<<22)
	r := &recorder{received: func(r *recorder, data []byte) {
		r.Write([]byte(text))
		r.Close(reason)
	}}
	conn := serve(t, r)
	io.WriteString(conn, "?")
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "?") // not to be received
	select {
	case err := <-r.lost:
		t.Errorf("ConnectionLost(%v) before everything is sent", err)
	case <-time.After(50 * time.Millisecond):
	}
	got, err := io.ReadAll(conn)
	if string(got) != text[1:] || err != nil {
		t.Errorf("read %d bytes, %v, want %d", len(got), err, len(text)-1)
	}
	r.expectLost(t, reason, "made data lost")
}

// A reset while something is unsent is the end, and the reason for it, even if the
// protocol has closed.
func TestResetWithUnsent(t *testing.T) {
	reason := errors.New("closed on purpose")
	r := &recorder{received: func(r *recorder, data []byte) {
		r.Write(make([]byte, 1<<24))
		r.Close(reason)
	}}
	conn := serve(t, r)
	io.WriteString(conn, "?")
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	conn.SetLinger(0)
	conn.Close()
	select {
	case err := <-r.lost:
		if err == nil || err == io.EOF || err == reason {
			t.Errorf("ConnectionLost(%v) after a reset", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("ConnectionLost is not called")
	}
}

// ConnectionLost is called before the client can see that the connection is closed.
func TestLostBeforeClosed(t *testing.T) {
	closing, closed := make(chan struct{}), make(chan struct{})
	r := &recorder{received: func(r *recorder, data []byte) { r.Close(io.EOF) }}
	r.whenLost = func() { close(closing); <-closed }
	conn := serve(t, r)
	io.WriteString(conn, "?")
	<-closing
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
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
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go Serve(listener, func() Protocol {
		r := &recorder{lost: lost}
		once.Do(func() { runtime.AddCleanup(r, func(c chan struct{}) { close(c) }, forgotten) })
		return r
	})
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	<-lost
	next, err := net.Dial("tcp", listener.Addr().String()) // the loop does not hold its last client longer
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
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
