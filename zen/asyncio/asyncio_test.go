//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package asyncio

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"
	"weak"
)

// A greeter greets. For what its client sends it calls received.
type greeter struct {
	*Transport
	received func(g *greeter, data []byte)
	lost     chan error // what ConnectionLost got; if nil, the loop stops there
}

func (g *greeter) ConnectionMade(transport *Transport) {
	g.Transport = transport
	g.Write([]byte("Welcome."))
}

func (g *greeter) DataReceived(data []byte) { g.received(g, data) }
func (g *greeter) ConnectionLost(err error) { g.lost <- err }

// serve starts a loop of protocols that greet, and returns a function that connects a
// client.
func serve(t *testing.T, newProtocol func() Protocol) (dial func() *net.TCPConn) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go Serve(listener, newProtocol)
	return func() *net.TCPConn {
		conn, err := net.DialTCP("tcp", nil, listener.Addr().(*net.TCPAddr))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(time.Minute))
		expect(t, conn, "Welcome.")
		return conn
	}
}

func expect(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); string(got) != want {
		t.Fatalf("read %d bytes, %.60q, %v; want %d, %.60q", n, got[:n], err, len(want), want)
	}
}

// large is more than the system keeps for a connection.
const large = 8 << 20

// What one client sends goes to the other, as in a chat, also if that reads late.
func TestChat(t *testing.T) {
	var all []*greeter
	dial := serve(t, func() Protocol {
		g := &greeter{received: func(g *greeter, data []byte) {
			for _, other := range all {
				if other != g {
					other.Write(data)
				}
			}
		}}
		all = append(all, g)
		return g
	})
	first, second := dial(), dial()
	for range 3 {
		io.WriteString(second, "Beautiful")
		expect(t, first, "Beautiful")
		io.WriteString(first, "Ugly")
		expect(t, second, "Ugly")
	}
	text := make([]byte, large)
	rand.Read(text)
	second.Write(text)
	io.WriteString(first, "I read late.") // is received when the text is sent
	expect(t, first, string(text))
	expect(t, second, "I read late.")
}

// A protocol may close the transport of another, and do so again when that is lost. The
// first error counts.
func TestClose(t *testing.T) {
	reason := errors.New("on purpose")
	for first, want := range map[error]error{reason: reason, nil: io.EOF} {
		var victim *greeter
		lost := make(chan error, 2)
		dial := serve(t, func() Protocol {
			g := &greeter{lost: lost, received: func(g *greeter, data []byte) {
				victim.CloseWithError(first)
				victim.CloseWithError(errors.New("too late"))
				_, err := victim.Write(data)
				fmt.Fprint(g, err)
			}}
			victim = cmp.Or(victim, g)
			return g
		})
		conn, other := dial(), dial()
		for range 2 {
			io.WriteString(other, "?")
			expect(t, other, net.ErrClosed.Error())
			if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
				t.Errorf("read %q, %v; want the end", got, err)
			}
		}
		if err := <-lost; err != want {
			t.Errorf("CloseWithError(%v), and ConnectionLost(%v); want %v", first, err, want)
		}
	}
}

// What is written before Close waits until there is room for it, a single byte too. After
// a reset ConnectionLost gets that, even if the protocol has closed. Then the loop forgets
// the protocol.
func TestCloseWithoutRoom(t *testing.T) {
	filled, lost, greeters := make(chan int), make(chan error, 1), make(chan weak.Pointer[greeter], 2)
	dial := serve(t, func() Protocol {
		g := &greeter{lost: lost, received: func(g *greeter, data []byte) {
			sent := 0
			for full := 0; full < 2; full++ { // until there is no room, and none a little later
				time.Sleep(10 * time.Millisecond)
				if n, _ := g.socket.Send(make([]byte, large)); n > 0 {
					sent, full = sent+n, -1
				}
			}
			filled <- sent
			g.Write(data)
			g.Close()
		}}
		greeters <- weak.Make(g)
		return g
	})
	first, second := dial(), dial()
	io.WriteString(second, "2")
	sent := <-filled
	io.WriteString(first, "1")
	<-filled
	first.SetLinger(0)
	first.Close()
	if err := <-lost; err == nil || err == io.EOF {
		t.Errorf("ConnectionLost(%v) after a reset", err)
	}
	expect(t, second, string(make([]byte, sent)))
	expect(t, second, "2")
	if err := <-lost; err != io.EOF {
		t.Errorf("Close, and ConnectionLost(%v); want io.EOF", err)
	}
	runtime.GC() // the loop's variables may still hold the second protocol
	if (<-greeters).Value() != nil {
		t.Error("the loop keeps the first protocol")
	}
}

// Of a large write the loop keeps nothing when it is sent, and copies none of it again
// meanwhile.
func TestLargeWrite(t *testing.T) {
	const size = 4 * large
	conn := serve(t, func() Protocol {
		return &greeter{received: func(g *greeter, data []byte) {
			if data[0] == '?' {
				g.Write(make([]byte, size))
			}
			if n, err := g.Write(append(g.AvailableBuffer(), '.')); n != 1 || err != nil || g.Buffered()%size != 1 {
				t.Errorf("Write: %d, %v, and %d bytes are buffered", n, err, g.Buffered())
			}
		}}
	})()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	io.WriteString(conn, "?")
	if n, err := io.CopyN(io.Discard, conn, size+1); err != nil {
		t.Fatalf("the client read %d bytes, %v", n, err)
	}
	io.WriteString(conn, "!") // is answered when the loop has handled the rest
	expect(t, conn, ".")
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc - before.HeapAlloc); kept > 1<<20 {
		t.Errorf("the loop keeps %d bytes", kept)
	}
	// The protocol makes the data, Write copies it, and a byte behind it may need that
	// copy to grow once.
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 5*size {
		t.Errorf("%d bytes are allocated to send %d", allocated, size)
	}
}

// A listener that is not a socket is an error.
func TestServeFails(t *testing.T) {
	if Serve(struct{ net.Listener }{}, nil) == nil {
		t.Error("no error")
	}
}
