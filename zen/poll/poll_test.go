//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package poll

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"log"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A rig is a Poller whose events come one at a time when asked for.
type rig struct {
	*testing.T
	*Poller
	listener Socket
	address  string
	next     func() (Socket, Event, bool)
}

func newRig(t *testing.T) *rig {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	poller, listener, err := New(tcp)
	if err != nil {
		t.Fatal(err)
	}
	next, stop := iter.Pull2(poller.Events())
	t.Cleanup(func() {
		stop()
		poller.Close(listener)
		syscall.Close(poller.fd)
	})
	return &rig{t, poller, listener, tcp.Addr().String(), next}
}

func (r *rig) expect(socket Socket, event Event) {
	r.Helper()
	if s, e, _ := r.next(); s != socket || e != event {
		r.Fatalf("event %d of socket %d, want %d of %d", e, s, event, socket)
	}
}

// expectNothing fails if there is an event now.
func (r *rig) expectNothing() {
	r.Helper()
	r.ready = r.ready[:0]
	if err := r.wait(0); err != nil {
		r.Fatal(err)
	}
	if len(r.ready) > 0 {
		r.Fatalf("unexpected events: %v", r.ready)
	}
}

// connect returns the client's end of a connection that is still to be accepted.
func (r *rig) connect() *net.TCPConn {
	r.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn.(*net.TCPConn)
}

// dial returns the two ends of a connection.
func (r *rig) dial() (*net.TCPConn, Socket) {
	r.Helper()
	conn := r.connect()
	r.expect(r.listener, Readable)
	socket, address, ok := r.Accept(r.listener)
	if !ok || address.String() != conn.LocalAddr().String() {
		r.Fatalf("accepted %v, %v, want %v", address, ok, conn.LocalAddr())
	}
	return conn, socket
}

func (r *rig) recv(socket Socket, size int) string {
	r.Helper()
	data := make([]byte, size)
	n, err := socket.Recv(data)
	if err != nil {
		r.Fatal(err)
	}
	return string(data[:n])
}

func TestReadable(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	r.expectNothing()
	io.WriteString(conn, "Beautiful")
	for _, want := range []string{"Beau", "tif", "ul"} { // what is left is reported again
		r.expect(socket, Readable)
		if got := r.recv(socket, len(want)); got != want {
			t.Errorf("received %q, want %q", got, want)
		}
	}
	r.expectNothing()
	if got := r.recv(socket, 100); got != "" {
		t.Errorf("received %q, want nothing yet", got)
	}
	r.Poller.Close(socket)
}

func TestModify(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	r.Modify(socket, Writable)
	r.expect(socket, Writable)
	io.WriteString(conn, "Beautiful")
	r.expect(socket, Writable)
	if n, err := socket.Send([]byte("Ugly.")); n != 5 || err != nil {
		t.Errorf("sent %d, %v", n, err)
	}
	r.Modify(socket, 0)
	r.expectNothing()
	r.Modify(socket, Readable)
	r.expect(socket, Readable)
	r.Poller.Close(socket)
	if got, err := io.ReadAll(conn); string(got) != "Ugly." || err != nil {
		t.Errorf("the client read %q, %v", got, err)
	}
}

// Send takes what fits, then nothing; and when the client has read, again.
func TestSendTakesWhatFits(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	chunk, sent := make([]byte, 1<<20), 0
	for {
		n, err := socket.Send(chunk)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		sent += n
	}
	r.Modify(socket, Writable)
	r.expectNothing()
	if _, err := io.CopyN(io.Discard, conn, int64(sent)); err != nil {
		t.Fatal(err)
	}
	r.expect(socket, Writable)
	if n, err := socket.Send(chunk); n == 0 || err != nil {
		t.Errorf("sent %d, %v", n, err)
	}
	if n, err := socket.Send(nil); n != 0 || err != nil {
		t.Errorf("sent %d of nothing, %v", n, err)
	}
	r.Poller.Close(socket)
}

func TestEndOfStream(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	io.WriteString(conn, "Beau")
	conn.CloseWrite()
	r.expect(socket, Readable)
	if got := r.recv(socket, 100); got != "Beau" {
		t.Errorf("received %q", got)
	}
	r.expect(socket, Readable)
	if n, err := socket.Recv(make([]byte, 100)); n != 0 || err != io.EOF {
		t.Errorf("received %d, %v, want the end", n, err)
	}
	r.Poller.Close(socket)
}

// A broken connection is readable, or writable, whatever it is watched for, and
// the call says what happened.
func TestReset(t *testing.T) {
	r := newRig(t)
	for _, watched := range []Event{Readable, Writable} {
		conn, socket := r.dial()
		for n := 1; watched == Writable && n > 0; {
			n, _ = socket.Send(make([]byte, 1<<20)) // until there is no room
		}
		r.Modify(socket, watched)
		conn.SetLinger(0)
		conn.Close()
		r.expect(socket, watched)
		var err error
		if watched == Readable {
			_, err = socket.Recv(make([]byte, 100))
		} else {
			_, err = socket.Send([]byte("Ugly."))
		}
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("watched for %d: %v", watched, err)
		}
		r.Poller.Close(socket)
	}
}

// When a socket is closed whose event is waiting its turn, that event must not
// reach the newcomer who gets the same number.
func TestReusedDescriptor(t *testing.T) {
	r := newRig(t)
	first, firstSocket := r.dial()
	second, secondSocket := r.dial()
	io.WriteString(first, "?")
	io.WriteString(second, "?")
	io.WriteString(first, "?")
	socket, _, _ := r.next()
	for len(r.ready) != 2 { // until both are reported in one turn
		socket, _, _ = r.next()
	}
	other := secondSocket
	if socket == secondSocket {
		other = firstSocket
	}
	newcomer := r.connect()
	r.Unregister(other)
	other.Close()
	var fresh Socket
	for ok := false; !ok; {
		fresh, _, ok = r.Accept(r.listener)
	}
	if fresh != other {
		t.Fatalf("the newcomer has number %d, want %d again", fresh, other)
	}
	r.Poller.Close(socket) // nothing has an event from here on
	r.connect()
	r.expect(r.listener, Readable) // and not the event of the one before
	if another, _, ok := r.Accept(r.listener); ok {
		r.Unregister(another)
		another.Close()
	}
	io.WriteString(newcomer, "!")
	r.expect(fresh, Readable)
	if got := r.recv(fresh, 100); got != "!" {
		t.Errorf("received %q from the newcomer", got)
	}
	r.Poller.Close(fresh)
}

func TestUnregister(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	r.Unregister(socket)
	io.WriteString(conn, "Beau")
	r.expectNothing()
	if err := r.Register(socket, Readable); err != nil {
		t.Fatal(err)
	}
	r.expect(socket, Readable)
	r.Unregister(socket)
	defer socket.Close()
	defer func() {
		if recover() == nil {
			t.Error("Modify of a socket that is not registered did not panic")
		}
	}()
	r.Modify(socket, Readable)
}

// While the listener is paused the others are served; then it is back.
func TestPause(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	const pause = 200 * time.Millisecond
	begin := time.Now()
	r.Pause(r.listener, pause)
	r.connect()
	for range 100 {
		io.WriteString(conn, "?")
		if s, _, _ := r.next(); s == r.listener {
			if time.Since(begin) < pause {
				t.Fatal("an event of the paused listener")
			}
			break // a slow machine
		}
		r.recv(socket, 100)
	}
	for s, _, _ := r.next(); s != r.listener; s, _, _ = r.next() {
		r.recv(socket, 100)
	}
	if waited := time.Since(begin); waited < pause {
		t.Errorf("back after %v, want %v", waited, pause)
	}
	_, _, ok := r.Accept(r.listener)
	if !ok {
		t.Error("nobody there after the pause")
	}
	r.Pause(socket, time.Millisecond)
	r.Modify(socket, Writable) // it is this that counts, now and when the pause would be over
	for r.expect(socket, Writable); time.Since(begin) < 2*pause; {
		r.expect(socket, Writable)
	}
	r.Modify(socket, Readable)
	r.Pause(r.listener, time.Hour)
	if timeout := r.runTimers(); timeout < time.Minute || timeout > time.Hour {
		t.Errorf("the next wait takes up to %v", timeout)
	}
	r.Poller.Close(socket)
}

// Out of descriptors, Accept says so and pauses the listener. The client is
// there when there is a descriptor again.
func TestAcceptShortage(t *testing.T) {
	r := newRig(t)
	r.connect()
	r.expect(r.listener, Readable)

	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	none := before
	none.Cur = 1
	var lines bytes.Buffer
	log.SetOutput(&lines)
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none)
	_, _, ok := r.Accept(r.listener)
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before)
	log.SetOutput(os.Stderr)

	if ok || !strings.HasPrefix(lines.String(), "Accept error: too many open files; retrying in 5ms\n") {
		t.Fatalf("accepted: %v; log: %s", ok, lines.String())
	}
	r.expectNothing()
	r.expect(r.listener, Readable)
	socket, _, ok := r.Accept(r.listener)
	if !ok {
		t.Fatal("not accepted after the shortage")
	}
	r.Poller.Close(socket)
	if _, _, ok := r.Accept(r.listener); ok {
		t.Error("accepted a client that is not there")
	}
	if _, _, err := r.listener.Accept(); err != ErrWouldBlock {
		t.Errorf("Accept of nobody: %v", err)
	}
}

// A signal neither ends nor repeats a call.
func TestInterrupted(t *testing.T) {
	calls := 0
	n, err := retry(func() (int, error) {
		if calls++; calls < 3 {
			return -1, syscall.EINTR
		}
		return 7, nil
	})
	if n != 7 || err != nil || calls != 3 {
		t.Errorf("%d, %v after %d calls", n, err, calls)
	}
	r := newRig(t)
	conn, socket := r.dial()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 1000 {
			syscall.Kill(os.Getpid(), syscall.SIGURG)
		}
		io.WriteString(conn, "?")
	}()
	r.expect(socket, Readable)
	<-done
	r.Poller.Close(socket)
}

// A client that is still sending when its socket is closed gets the answers that
// it has not read, and the end; and the socket goes when the client does.
func TestCloseLingers(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	io.WriteString(conn, strings.Repeat("x", 50_000))
	r.expect(socket, Readable)
	answers := bytes.Repeat([]byte("Ugly."), 100_000)
	sent, err := socket.Send(answers)
	if err != nil {
		t.Fatal(err)
	}
	r.Poller.Close(socket)
	io.WriteString(conn, "and another thing")
	if got, err := io.ReadAll(conn); !bytes.Equal(got, answers[:sent]) || err != nil {
		t.Errorf("the client read %d bytes, %v, want %d", len(got), err, sent)
	}
	conn.Close()
	next, nextSocket := r.dial() // and no event of the one that lingers
	for r.timers[socket].closing {
		io.WriteString(next, "?")
		r.expect(nextSocket, Readable)
		r.recv(nextSocket, 1)
	}
	if _, err := socket.Recv(make([]byte, 1)); !errors.Is(err, syscall.EBADF) {
		t.Errorf("the socket is not closed: %v", err)
	}
	r.Poller.Close(nextSocket)
}

// A client that neither stops sending nor goes away is dropped in the end.
func TestLingerEnds(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	begin := time.Now()
	r.Poller.Close(socket)
	if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
		t.Errorf("the client read %q, %v", got, err)
	}
	r.Pause(r.listener, 10*time.Millisecond) // an earlier timer does not hold up the other
	for len(r.timers) > 0 {
		io.WriteString(conn, "x")
		timeout := r.runTimers()
		if timeout < 0 {
			break
		}
		if err := r.wait(timeout); err != nil && err != syscall.EINTR {
			t.Fatal(err)
		}
		for _, ready := range r.ready {
			if ready.socket == socket && r.timers[socket].closing {
				r.discard(socket)
			}
		}
		r.ready = r.ready[:0]
	}
	if waited := time.Since(begin); waited < time.Second {
		t.Errorf("dropped after %v", waited)
	}
	if _, err := socket.Recv(make([]byte, 1)); !errors.Is(err, syscall.EBADF) {
		t.Errorf("the socket is not closed: %v", err)
	}
}
