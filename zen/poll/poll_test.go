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
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen, and quiet how long it
// watches for what must not.
const patience, quiet = 30 * time.Second, 100 * time.Millisecond

// A rig is a Poller whose events a test takes one at a time.
type rig struct {
	*testing.T
	*Poller
	address string
	pull    func() (Socket, Event, bool)
}

func newRig(t *testing.T) *rig {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	poller, err := New(tcp)
	if err != nil {
		t.Fatal(err)
	}
	pull, stop := iter.Pull2(poller.Events())
	t.Cleanup(func() {
		stop()
		tcp.Close()
		syscall.Close(poller.queue)
	})
	return &rig{t, poller, tcp.Addr().String(), pull}
}

func (r *rig) next() (Socket, Event) {
	watchdog := time.AfterFunc(patience, func() { panic(r.Name() + ": no event came") })
	defer watchdog.Stop()
	s, event, ok := r.pull()
	if !ok {
		r.Fatalf("the events have ended: %v", r.Err())
	}
	return s, event
}

func (r *rig) expect(socket Socket, event Event) {
	r.Helper()
	if s, e := r.next(); s != socket || e != event {
		r.Fatalf("event %d of socket %d, want event %d of socket %d", e, s, event, socket)
	}
}

// expectNothing fails if there is an event now.
func (r *rig) expectNothing() {
	r.Helper()
	r.wait(0)
	if r.err != nil || len(r.turn) > 0 {
		r.Fatalf("unexpected events: %v, %v", r.turn, r.err)
	}
}

// connect returns the client's end of a connection that is not accepted yet.
func (r *rig) connect() *net.TCPConn {
	r.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

// dial returns the two ends of a connection.
func (r *rig) dial() (*net.TCPConn, Socket) {
	r.Helper()
	conn := r.connect()
	r.expect(r.Listener, Readable)
	socket, address, ok := r.Accept()
	if !ok || address.String() != conn.LocalAddr().String() {
		r.Fatalf("accepted %v, %v, want %v", address, ok, conn.LocalAddr())
	}
	r.turn = r.turn[:len(r.turn)-1] // without the event that Accept adds
	return conn, socket
}

// recv receives at most size bytes, of which there must be some.
func (r *rig) recv(socket Socket, size int) string {
	r.Helper()
	data := make([]byte, size)
	n, err := socket.Recv(data)
	if n == 0 || err != nil {
		r.Fatalf("received %d bytes, %v", n, err)
	}
	return string(data[:n])
}

// fill sends until the system takes no more, and returns how much it took.
func (r *rig) fill(socket Socket) (sent int) {
	r.Helper()
	chunk := make([]byte, 1<<20)
	for last := time.Now(); time.Since(last) < quiet; {
		n, err := socket.Send(chunk)
		if err != nil {
			r.Fatal(err)
		}
		if n > 0 {
			sent, last = sent+n, time.Now()
		}
	}
	return sent
}

func reset(conn *net.TCPConn) {
	conn.SetLinger(0)
	conn.Close()
}

// expectClosed fails if the descriptor of s is still open.
func (r *rig) expectClosed(s Socket) {
	r.Helper()
	if _, err := s.Recv(make([]byte, 1)); !errors.Is(err, syscall.EBADF) {
		r.Errorf("socket %d is still open: %v", s, err)
	}
}

// captureLog returns what f logs.
func captureLog(f func()) string {
	var lines bytes.Buffer
	log.SetOutput(&lines)
	defer log.SetOutput(os.Stderr)
	f()
	return lines.String()
}

func TestReadableIsRepeated(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	r.expectNothing()
	if n, err := socket.Recv(make([]byte, 100)); n != 0 || err != nil {
		t.Errorf("received %d bytes, %v, where nothing was sent", n, err)
	}
	io.WriteString(conn, "Beautiful")
	for _, want := range []string{"Beau", "tif", "ul"} {
		r.expect(socket, Readable)
		if got := r.recv(socket, len(want)); got != want {
			t.Errorf("received %q, want %q", got, want)
		}
	}
	r.expectNothing()
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
	if n, err := socket.Recv(nil); n != 0 || err != nil {
		t.Errorf("received %d, %v into an empty slice", n, err)
	}
	if n, err := socket.Recv(make([]byte, 100)); n != 0 || err != io.EOF {
		t.Errorf("received %d, %v, want the end", n, err)
	}
}

func TestModify(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	r.Modify(socket, Writable)
	r.expect(socket, Writable)
	io.WriteString(conn, "Beautiful")
	r.expect(socket, Writable)
	r.Modify(socket, 0)
	r.expectNothing()
	r.Modify(socket, Readable)
	r.expect(socket, Readable)
	r.Modify(socket, Readable|Writable)
	for both := Event(0); both != Readable|Writable; {
		s, event := r.next()
		if s != socket {
			t.Fatalf("event of socket %d, want %d", s, socket)
		}
		both |= event
	}
}

func TestSendTakesWhatFits(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	sent := r.fill(socket)
	r.Modify(socket, Writable)
	if _, err := io.CopyN(io.Discard, conn, int64(sent)); err != nil {
		t.Fatal(err)
	}
	r.expect(socket, Writable)
	if n, err := socket.Send([]byte("Ugly.")); n != 5 || err != nil {
		t.Errorf("sent %d, %v", n, err)
	}
	if n, err := socket.Send(nil); n != 0 || err != nil {
		t.Errorf("sent %d of nothing, %v", n, err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); string(got) != "Ugly." || err != nil {
		t.Errorf("the client read %q, %v", got, err)
	}
}

// A broken connection is ready for whatever it is watched for, and the next call
// returns the error.
func TestReset(t *testing.T) {
	r := newRig(t)
	for _, watched := range []Event{Readable, Writable} {
		conn, socket := r.dial()
		if watched == Writable {
			r.fill(socket)
		}
		r.Modify(socket, watched)
		reset(conn)
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
		r.HangUp(socket)
		r.expectClosed(socket)
	}
}

// The loop does not spin if a socket breaks that is watched for nothing.
func TestResetWatchedForNothing(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	r.Modify(socket, 0)
	reset(conn)
	for waits := 0; ; waits++ {
		begin := time.Now()
		r.wait(quiet)
		if len(r.turn) == 0 && time.Since(begin) >= quiet {
			break
		}
		if waits == 10 {
			t.Fatalf("the wait returns at once again and again: %v", r.turn)
		}
	}
	r.Modify(socket, Readable)
	r.expect(socket, Readable)
}

// batch connects clients that all send at once, and returns when the events of
// all are in one turn: the socket of the first event, and the others.
func (r *rig) batch(clients int) (first Socket, rest []Socket) {
	r.Helper()
	sockets := map[Socket]bool{}
	var conns []net.Conn
	for range clients {
		conn, socket := r.dial()
		conns = append(conns, conn)
		sockets[socket] = true
	}
	for _, conn := range conns {
		io.WriteString(conn, "?")
	}
	for first, _ = r.next(); len(r.turn) < clients; first, _ = r.next() {
	}
	delete(sockets, first)
	for socket := range sockets {
		rest = append(rest, socket)
	}
	return first, rest
}

// An event of this turn is not reported if the socket is not watched for it any
// more.
func TestStaleEventAfterModify(t *testing.T) {
	r := newRig(t)
	first, rest := r.batch(2)
	r.Modify(rest[0], 0)
	r.recv(first, 100)
	r.Modify(first, Writable)
	for range 3 {
		r.expect(first, Writable)
	}
	r.Modify(first, 0)
	r.Modify(rest[0], Readable)
	r.expect(rest[0], Readable)
}

// If a socket is closed whose event is in this turn, the next client may get its
// number, and must not get its event.
func TestStaleEventAfterHangUp(t *testing.T) {
	r := newRig(t)
	_, rest := r.batch(3)
	for _, socket := range rest {
		newcomer := r.connect()
		r.recv(socket, 100)
		r.close(socket)
		fresh, _, ok := r.Accept()
		for !ok {
			fresh, _, ok = r.Accept()
		}
		if fresh != socket {
			t.Fatalf("the next client has number %d, want %d again", fresh, socket)
		}
		for _, ready := range r.turn {
			if ready.socket == fresh && ready.event != 0 {
				t.Errorf("an event of the last owner of number %d is left", fresh)
			}
		}
		io.WriteString(newcomer, "!")
	}
}

// More sockets may be ready than fit into one turn.
func TestManyReady(t *testing.T) {
	r := newRig(t)
	waiting := map[Socket]bool{}
	var conns []*net.TCPConn
	for range 2*len(r.events) + 10 {
		conn, socket := r.dial()
		conns = append(conns, conn)
		waiting[socket] = true
	}
	for _, conn := range conns {
		io.WriteString(conn, "?")
	}
	for len(waiting) > 0 {
		socket, _ := r.next()
		r.recv(socket, 1)
		if !waiting[socket] {
			t.Fatalf("socket %d is ready twice", socket)
		}
		delete(waiting, socket)
	}
}

// withoutDescriptors runs f while the system has no descriptor to give.
func withoutDescriptors(t *testing.T, f func()) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	none := before
	none.Cur = 1
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before)
	f()
}

// Out of descriptors, Accept logs that and pauses the listening socket, longer
// each time. The others are served. Then there are clients again.
func TestShortage(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	for _, pause := range []time.Duration{5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond} {
		r.connect()
		r.expect(r.Listener, Readable)
		begin := time.Now()
		var ok bool
		lines := captureLog(func() { withoutDescriptors(t, func() { _, _, ok = r.Accept() }) })
		if want := "Accept error: too many open files; retrying in " + pause.String() + "\n"; ok || !strings.HasSuffix(lines, want) {
			t.Fatalf("accepted: %v, log: %q, want %q", ok, lines, want)
		}
		io.WriteString(conn, "?")
		for served := false; !served; {
			switch s, _ := r.next(); {
			case s == socket:
				r.recv(socket, 1)
				served = true
			case time.Since(begin) < pause:
				t.Fatal("an event of the paused listening socket")
			default: // this machine is slow
			}
		}
		r.connect() // macOS has dropped the client that could not be accepted
		r.expect(r.Listener, Readable)
		if waited := time.Since(begin); waited < pause {
			t.Errorf("paused for %v, want %v", waited, pause)
		}
	}
	if _, _, ok := r.Accept(); !ok {
		t.Error("not accepted after the shortage")
	}
	if r.backoff != shortestPause {
		t.Errorf("after a success the next pause is %v", r.backoff)
	}
	captureLog(func() {
		for range 20 {
			r.pause(syscall.EMFILE)
		}
	})
	if r.backoff != time.Second {
		t.Errorf("the longest pause is %v", r.backoff)
	}
}

// A client that cannot be watched is closed.
func TestClientThatCannotBeWatched(t *testing.T) {
	r := newRig(t)
	conn := r.connect()
	r.expect(r.Listener, Readable)
	queue := r.queue
	r.queue = -1
	var ok bool
	captureLog(func() { _, _, ok = r.Accept() })
	r.queue = queue
	if ok || r.err == nil { // the pause of the listening socket fails too
		t.Errorf("accepted: %v, error: %v", ok, r.err)
	}
	if got, err := io.ReadAll(conn); len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the client is still connected: %q, %v", got, err)
	}
}

// After a client the event of the listening socket comes again in the same turn,
// but a turn has an end: a crowd does not keep the others waiting.
func TestCrowd(t *testing.T) {
	r := newRig(t)
	other, otherSocket := r.dial()
	const crowd = 90 // fits into the queue of every system
	for range crowd {
		r.connect()
	}
	r.expect(r.Listener, Readable)
	for accepted := 0; accepted < crowd; accepted++ {
		if _, _, ok := r.Accept(); !ok {
			t.Fatalf("%d clients of %d are accepted in one turn", accepted, crowd)
		}
		r.expect(r.Listener, Readable)
	}
	if _, _, ok := r.Accept(); ok {
		t.Error("a client is accepted that nobody has sent")
	}
	r.expectNothing()

	// A listening socket that always has a client leaves room for the others.
	io.WriteString(other, "?")
	accepted := 0
	for socket := r.Listener; socket == r.Listener; socket, _ = r.next() {
		client := r.connect()
		if newcomer, _, ok := r.Accept(); ok {
			accepted++
			client.Close()
			r.recvEnd(newcomer)
		}
		if accepted > 2*longestTurn {
			t.Fatalf("%d clients are accepted while another waits", accepted)
		}
	}
	r.recv(otherSocket, 1)
}

// Nobody to accept is not an error.
func TestAcceptNobody(t *testing.T) {
	r := newRig(t)
	if _, _, ok := r.Accept(); ok || r.err != nil || len(r.timers) > 0 {
		t.Errorf("accepted %v, error %v, %d timers", ok, r.err, len(r.timers))
	}
}

// If the listening socket is not one, trying again cannot help: Events ends.
func TestPermanentError(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for want, fd := range map[error]int{
		syscall.EBADF:    -1,
		syscall.ENOTSOCK: int(null.Fd()),
	} {
		r := newRig(t)
		r.connect()
		r.expect(r.Listener, Readable)
		listener := r.Listener
		r.Listener = Socket(fd)
		if _, _, ok := r.Accept(); ok {
			t.Error("accepted a client from no listening socket")
		}
		r.Listener = listener
		if _, _, ok := r.pull(); ok || !errors.Is(r.Err(), want) {
			t.Errorf("more events: %v; error %v, want %v", ok, r.Err(), want)
		}
	}
}

// If the Poller itself fails, Events ends too.
func TestPollerFails(t *testing.T) {
	for what, fail := range map[string]func(r *rig, socket Socket){
		"wait":   func(r *rig, socket Socket) {},
		"Modify": func(r *rig, socket Socket) { r.Modify(socket, Writable) },
	} {
		r := newRig(t)
		_, socket := r.dial()
		queue := r.queue
		r.queue = -1
		fail(r, socket)
		_, _, ok := r.pull()
		r.queue = queue
		if ok || !errors.Is(r.Err(), syscall.EBADF) {
			t.Errorf("%s: more events: %v; error %v, want %v", what, ok, r.Err(), syscall.EBADF)
		}
	}
}

// The address of a client is that of package net.
func TestAddress(t *testing.T) {
	networks, err := net.Interfaces()
	if err != nil || len(networks) == 0 {
		t.Fatalf("no network interface: %v", err)
	}
	name, zone := networks[0].Name, uint32(networks[0].Index)
	for want, from := range map[string]syscall.Sockaddr{
		"127.0.0.1:1060": &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 1060},
		"[::1]:1060":     &syscall.SockaddrInet6{Addr: [16]byte{15: 1}, Port: 1060},
		"127.0.0.1:1061": &syscall.SockaddrInet6{Addr: [16]byte{10: 255, 11: 255, 12: 127, 15: 1}, Port: 1061},

		"[fe80::1%999999]:1060":    &syscall.SockaddrInet6{Addr: [16]byte{0: 0xfe, 1: 0x80, 15: 1}, Port: 1060, ZoneId: 999999},
		"[fe80::1%" + name + "]:1": &syscall.SockaddrInet6{Addr: [16]byte{0: 0xfe, 1: 0x80, 15: 1}, Port: 1, ZoneId: zone},
	} {
		if got := tcpAddr(from).String(); got != want {
			t.Errorf("address %s, want %s", got, want)
		}
	}
}

// New takes one descriptor, and none if it fails.
func TestNewFails(t *testing.T) {
	r := newRig(t)
	another, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer another.Close()
	free, _ := syscall.Dup(0)
	next, _ := syscall.Dup(0)
	syscall.Close(free)
	syscall.Close(next)
	poller, err := New(another)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(poller.queue)
	if now, _ := syscall.Dup(0); now != next {
		t.Errorf("after New the first free descriptor is %d, want %d", now, next)
	} else {
		syscall.Close(now)
	}
	before, err := syscall.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.Close(before)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if _, err := New(closed); err == nil {
		t.Error("New accepts a closed listener")
	}
	if _, err := New(struct{ net.Listener }{closed}); err == nil {
		t.Error("New accepts a listener that is not a socket")
	}
	withoutDescriptors(t, func() { _, err = New(r.owner) })
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("without descriptors: %v", err)
	}
	if after, _ := syscall.Dup(0); after != before {
		t.Errorf("the first free descriptor was %d, and is %d", before, after)
	} else {
		syscall.Close(after)
	}
}

// A client inherits what package net sets on every connection.
func TestOptions(t *testing.T) {
	r := newRig(t)
	_, socket := r.dial()
	for _, option := range []struct {
		what        string
		level, name int
	}{
		{"no delay", syscall.IPPROTO_TCP, syscall.TCP_NODELAY},
		{"keepalive", syscall.SOL_SOCKET, syscall.SO_KEEPALIVE},
	} {
		if value, err := syscall.GetsockoptInt(int(socket), option.level, option.name); value == 0 || err != nil {
			t.Errorf("%s is %d, %v", option.what, value, err)
		}
	}
	if runtime.GOOS == "linux" {
		const keepIdle = 4 // TCP_KEEPIDLE, which not every system has
		if value, err := syscall.GetsockoptInt(int(socket), syscall.IPPROTO_TCP, keepIdle); value != 15 || err != nil {
			t.Errorf("the first probe comes after %d s, %v, want 15", value, err)
		}
	}
}

// A signal neither ends nor repeats anything.
func TestSignals(t *testing.T) {
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
}

// A client that is still sending after HangUp gets what was sent before, and the
// end. The socket is closed when the client closes. The others are served.
func TestLinger(t *testing.T) {
	r := newRig(t)
	next, nextSocket := r.dial()
	conn, socket := r.dial()
	io.WriteString(conn, strings.Repeat("x", 20_000))
	r.expect(socket, Readable)
	answers := strings.Repeat("Ugly.", 4000)
	if sent, err := socket.Send([]byte(answers)); sent != len(answers) || err != nil {
		t.Fatalf("sent %d of %d bytes, %v", sent, len(answers), err)
	}
	r.HangUp(socket)
	io.WriteString(conn, "and another thing")
	if got, err := io.ReadAll(conn); string(got) != answers || err != nil {
		t.Errorf("the client read %d bytes, %v, want %d", len(got), err, len(answers))
	}
	written := make(chan error, 1)
	go func() { // more than all buffers take, so that it must be discarded
		_, err := io.WriteString(conn, strings.Repeat("and more", 4<<20))
		conn.Close()
		written <- err
	}()
	for len(r.timers) > 0 {
		io.WriteString(next, "?")
		r.expect(nextSocket, Readable)
		r.recv(nextSocket, 1)
	}
	if err := <-written; err != nil {
		t.Errorf("what the client sends is not discarded: %v", err)
	}
	r.expectClosed(socket)
}

// When the client of one lingering socket leaves, the other lingers on, and the
// next client with the number of the first keeps its connection.
func TestTwoLinger(t *testing.T) {
	r := newRig(t)
	first, firstSocket := r.dial()
	_, secondSocket := r.dial()
	r.HangUp(firstSocket)
	r.HangUp(secondSocket)
	if due := time.Until(r.timers[1].due); due > time.Second {
		t.Errorf("the second socket lingers for %v, want a second", due)
	}
	r.expectNothing() // an idle socket that lingers does not make the loop spin
	waiting := r.connect()
	first.Close()
	for deadline := time.Now().Add(patience); len(r.lingering) > 1; {
		if time.Now().After(deadline) {
			t.Fatal("the socket lingers though its client has left")
		}
		r.wait(quiet)
		for _, ready := range r.turn {
			if ready.socket == firstSocket {
				r.endLinger(firstSocket)
			}
		}
	}
	r.turn = r.turn[:0]
	if _, lingers := r.lingering[secondSocket]; !lingers {
		t.Error("the other socket does not linger any more")
	}
	for fd := -1; fd < int(firstSocket); { // take the free numbers below it
		fd, err := syscall.Dup(0)
		if err != nil || fd >= int(firstSocket) {
			syscall.Close(fd)
			break
		}
		defer syscall.Close(fd)
	}
	newcomer, _, ok := r.Accept()
	if !ok || newcomer != firstSocket {
		t.Fatalf("accepted %d, %v, want %d", newcomer, ok, firstSocket)
	}
	for timeout := r.runTimers(); timeout >= 0; timeout = r.runTimers() {
		r.wait(timeout)
	}
	r.expectClosed(secondSocket)
	io.WriteString(waiting, "?")
	r.recvSoon(newcomer)
}

// recvEnd closes a socket whose client has left.
func (r *rig) recvEnd(socket Socket) {
	r.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if _, err := socket.Recv(make([]byte, 1)); err == io.EOF {
			r.close(socket)
			return
		}
	}
	r.Fatal("the client does not leave")
}

// recvSoon receives what a client has just sent.
func (r *rig) recvSoon(socket Socket) {
	r.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); r.wait(quiet) {
		if n, err := socket.Recv(make([]byte, 1)); n > 0 {
			return
		} else if err != nil {
			r.Fatal(err)
		}
	}
	r.Fatal("nothing arrives")
}

// Clients that neither stop sending nor leave are closed after lingerTime, each
// in its time, and a pause in between ends in its time too.
func TestLingerEnds(t *testing.T) {
	r := newRig(t)
	type one struct {
		socket Socket
		begin  time.Time
	}
	var lingering []one
	for range 3 {
		conn, socket := r.dial()
		lingering = append(lingering, one{socket, time.Now()})
		r.HangUp(socket)
		if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
			t.Errorf("the client read %q, %v, want the end", got, err)
		}
		io.WriteString(conn, "x")
	}
	captureLog(func() { r.pause(syscall.EMFILE) })
	r.connect()
	r.expect(r.Listener, Readable)
	if len(r.timers) != 3 {
		t.Errorf("%d sockets linger after the pause, want 3", len(r.timers))
	}
	for len(r.timers) > 0 { // the listening socket stays Readable, so every turn ends
		r.expect(r.Listener, Readable)
		for _, l := range lingering {
			if time.Since(l.begin) < lingerTime {
				if _, err := syscall.Getpeername(int(l.socket)); errors.Is(err, syscall.EBADF) {
					t.Fatalf("socket %d is closed before its time", l.socket)
				}
			}
		}
	}
	for _, l := range lingering {
		r.expectClosed(l.socket)
	}
}
