//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package poll

import (
	"bytes"
	"errors"
	"io"
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
	t.Cleanup(func() {
		tcp.Close()
		syscall.Close(poller.queue)
	})
	return &rig{t, poller, tcp.Addr().String()}
}

// waitSoon returns what Wait returns.
func (r *rig) waitSoon() (Socket, Event, error) {
	defer r.watchdog().Stop()
	return r.Wait()
}

// watchdog ends the tests if it is not stopped soon.
func (r *rig) watchdog() *time.Timer {
	return time.AfterFunc(patience, func() { panic(r.Name() + ": no event came") })
}

func (r *rig) nextEvent() (Socket, Event) {
	r.Helper()
	s, event, err := r.waitSoon()
	if err != nil {
		r.Fatal(err)
	}
	return s, event
}

func (r *rig) expect(socket Socket, event Event) {
	r.Helper()
	if s, e := r.nextEvent(); s != socket || e != event {
		r.Fatalf("event %d of socket %d, want event %d of socket %d", e, s, event, socket)
	}
}

// expectNothing fails if there is an event now.
func (r *rig) expectNothing() {
	r.Helper()
	r.nextTurn(0)
	if r.err != nil || len(r.turn) > 0 {
		r.Fatalf("unexpected events: %v, %v", r.turn, r.err)
	}
}

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

// connect returns the client's end of a connection that is not accepted yet.
func (r *rig) connect() client {
	r.Helper()
	conn, err := net.DialTimeout("tcp", r.address, patience)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { conn.Close() })
	return client{conn.(*net.TCPConn)}
}

// dial returns the two ends of a connection.
func (r *rig) dial() (client, Socket) {
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

// try calls f again and again until it reports success.
func (r *rig) try(what string, f func() bool) {
	r.Helper()
	for deadline := time.Now().Add(patience); !f(); {
		if time.Now().After(deadline) {
			r.Fatalf("%s: not within %v", what, patience)
		}
	}
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

func reset(conn client) {
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
	for _, size := range []int{100, 1} {
		if n, err := socket.Recv(make([]byte, size)); n != 0 || err != io.EOF {
			t.Errorf("received %d, %v, want the end", n, err)
		}
	}
}

// A socket is reported for what it is watched for and ready for, and for nothing
// else.
func TestModify(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	r.Modify(socket, Readable|Writable)
	for range 3 { // nothing has arrived
		r.expect(socket, Writable)
	}
	r.Modify(socket, Writable)
	io.WriteString(conn, "Beautiful")
	for range 3 {
		r.expect(socket, Writable)
	}
	r.Modify(socket, 0)
	r.expectNothing()
	r.Modify(socket, Readable)
	r.expect(socket, Readable)
	r.Modify(socket, Readable|Writable)
	var both Event
	r.try("both events", func() bool {
		s, event := r.nextEvent()
		both |= event
		return s == socket && both == Readable|Writable
	})
	only := 0 // turns with nothing but Readable, for there is no room to write
	r.try("Readable and not Writable", func() bool {
		if _, event := r.nextEvent(); event == Readable {
			only++
		} else {
			r.fill(socket)
			only = 0
		}
		return only == 3
	})
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
	for _, text := range []string{"Ugly", "."} {
		if n, err := socket.Send([]byte(text)); n != len(text) || err != nil {
			t.Errorf("sent %d, %v", n, err)
		}
	}
	if n, err := Socket(-1).Send(nil); n != 0 || err != nil { // without a system call
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
		var err error
		r.try("an error", func() bool { // there may have been a little room left
			r.expect(socket, watched)
			if watched == Readable {
				_, err = socket.Recv(make([]byte, 100))
			} else {
				_, err = socket.Send([]byte("Ugly."))
			}
			return err != nil
		})
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.EPROTOTYPE) {
			t.Errorf("watched for %d: %v", watched, err)
		}
		if call := map[Event]string{Readable: "read: ", Writable: "write: "}[watched]; !strings.HasPrefix(err.Error(), call) {
			t.Errorf("%q does not begin with %q", err, call)
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
		r.nextTurn(quiet)
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

// A wait lasts until there is an event or a timer is due: the Poller does not look
// again and again.
func TestWaitLasts(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	r.expectNothing()
	time.AfterFunc(quiet, func() { io.WriteString(conn, "?") })
	defer r.watchdog().Stop()
	waits := 0
	for ; len(r.turn) == 0; waits++ {
		r.nextTurn(r.runTimers())
	}
	if waits > 10 { // a signal may end a wait too
		t.Errorf("%d waits for one event", waits)
	}
	r.recv(socket, 1)
	captureLog(func() { r.backOff(syscall.EMFILE) })
	waits = 0
	for timeout := r.runTimers(); timeout >= 0; timeout = r.runTimers() {
		r.nextTurn(timeout)
		waits++
	}
	if waits > 10 {
		t.Errorf("%d waits for one timer", waits)
	}
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
	r.try("the events of all in one turn", func() bool {
		first, _ = r.nextEvent()
		return len(r.turn) == clients
	})
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
	for i, socket := range rest {
		newcomer := r.connect()
		r.recv(socket, 100)
		r.close(socket)
		var fresh Socket
		r.try("a client", func() (ok bool) {
			fresh, _, ok = r.Accept()
			return ok
		})
		if fresh != socket {
			t.Fatalf("the next client has number %d, want %d again", fresh, socket)
		}
		for _, ready := range r.turn {
			if ready.socket == fresh && ready.event != 0 {
				t.Errorf("an event of the last owner of number %d is left", fresh)
			}
			if i == 0 && ready.socket == rest[1] && ready.event == 0 {
				t.Error("the event of another socket is lost")
			}
		}
		io.WriteString(newcomer, "!")
	}
}

// More sockets may be ready than fit into one turn. Here all are copies of one, for
// a system may allow a process few descriptors.
func TestManyReady(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	waiting := map[Socket]bool{socket: true}
	for range len(r.events) + 10 {
		fd, err := syscall.Dup(int(socket))
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(fd)
		waiting[Socket(fd)] = true
		if err := r.add(Socket(fd), Readable); err != nil {
			t.Fatal(err)
		}
	}
	io.WriteString(conn, "?")
	for len(waiting) > 0 {
		socket, _ := r.nextEvent()
		r.Modify(socket, 0)
		if !waiting[socket] {
			t.Fatalf("socket %d is ready twice", socket)
		}
		delete(waiting, socket)
	}
}

// withDescriptors runs f while the system gives only descriptors below limit.Cur.
func withDescriptors(t *testing.T, limit syscall.Rlimit, f func()) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	limit.Max = before.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
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
		lines := captureLog(func() { withDescriptors(t, syscall.Rlimit{Cur: 1}, func() { _, _, ok = r.Accept() }) })
		if want := "Accept error: " + syscall.EMFILE.Error() + "; retrying in " + pause.String() + "\n"; ok || !strings.HasSuffix(lines, want) {
			t.Fatalf("accepted: %v, log: %q, want %q", ok, lines, want)
		}
		io.WriteString(conn, "?")
		for served := false; !served; {
			switch s, _ := r.nextEvent(); {
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
	if r.backoff != 0 {
		t.Errorf("after a success the time between two tries is still %v", r.backoff)
	}
	captureLog(func() {
		for range 20 {
			r.backOff(syscall.EMFILE)
		}
	})
	if r.backoff != time.Second {
		t.Errorf("the longest time between two tries is %v", r.backoff)
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
	const crowd = 90 // fits into the queue of every system, and into 256 descriptors
	for range crowd {
		r.connect()
	}
	for accepted := 0; accepted < crowd; {
		r.expect(r.Listener, Readable)
		before := len(r.turn)
		if _, _, ok := r.Accept(); !ok {
			continue // the next client is not in the queue yet
		}
		accepted++
		if len(r.turn) != before+1 {
			t.Fatalf("after %d clients the event does not come again in this turn", accepted)
		}
	}
	r.expect(r.Listener, Readable)
	if _, _, ok := r.Accept(); ok {
		t.Error("a client is accepted that nobody has sent")
	}
	r.expectNothing()

	// If the system has reported as much as it can, there is room for another client.
	r.connect()
	r.expect(r.Listener, Readable)
	r.turn = make([]readiness, len(r.events))
	if _, _, ok := r.Accept(); !ok || len(r.turn) != len(r.events)+1 {
		t.Errorf("accepted: %v; %d events in the turn, want %d", ok, len(r.turn), len(r.events)+1)
	}
	r.turn, r.next = r.turn[:0], 0

	// A listening socket that always has a client leaves room for the others.
	waiting := r.connect()
	r.expect(r.Listener, Readable)
	io.WriteString(other, "?")
	accepted := 0
	for socket := r.Listener; socket == r.Listener; socket, _ = r.nextEvent() {
		if newcomer, _, ok := r.Accept(); ok {
			accepted++
			waiting.Close()
			r.recvEnd(newcomer)
			waiting = r.connect()
		}
		if accepted > 2*longestTurn {
			t.Fatalf("%d clients are accepted while another waits", accepted)
		}
	}
	r.recv(otherSocket, 1)
}

// If there is nobody to accept, or a connection is broken, Accept neither fails nor
// pauses.
func TestAcceptNobody(t *testing.T) {
	r := newRig(t)
	if _, _, ok := r.Accept(); ok || r.err != nil || len(r.timers) > 0 {
		t.Errorf("accepted %v, error %v, %d timers", ok, r.err, len(r.timers))
	}
	if runtime.GOOS != "linux" {
		return
	}
	// On Linux EOPNOTSUPP is an error of one connection, and easy to get.
	udp, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(udp)
	r.Listener = Socket(udp)
	if _, _, ok := r.Accept(); ok || r.err != nil || len(r.timers) > 0 {
		t.Errorf("accepted %v, error %v, %d timers", ok, r.err, len(r.timers))
	}
}

// If the listening socket is not one, trying again cannot help: Wait returns the error.
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
		if _, _, err := r.waitSoon(); !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "accept: ") {
			t.Errorf("Wait returns %v, want %v", err, want)
		}
	}
}

// If the Poller itself fails, Wait returns that too. What the Poller does after that does
// not hide the reason.
func TestPollerFails(t *testing.T) {
	r := newRig(t)
	_, socket := r.dial()
	queue := r.queue
	r.queue = -1
	r.Modify(socket, Readable) // as before, so no system call
	if r.err != nil {
		t.Errorf("a Modify that changes nothing: %v", r.err)
	}
	r.Modify(socket, Writable)
	r.queue = queue
	r.Modify(socket, Readable)
	if _, _, err := r.waitSoon(); !errors.Is(err, syscall.EBADF) || !strings.HasPrefix(err.Error(), "watch: ") {
		t.Errorf("Wait returns %v, want the error of Modify", err)
	}

	r = newRig(t)
	queue = r.queue
	r.queue = -1
	_, _, err := r.waitSoon()
	r.queue = queue
	if !errors.Is(err, syscall.EBADF) || !strings.HasPrefix(err.Error(), "wait for events: ") {
		t.Errorf("Wait returns %v, want the error of the system call", err)
	}
}

// If the listening socket cannot be watched again after a shortage, Wait returns that
// at once, although no client has anything to say.
func TestTimerFails(t *testing.T) {
	r := newRig(t)
	r.dial()
	captureLog(func() { r.backOff(syscall.EMFILE) })
	r.owner.Close()
	if _, _, err := r.waitSoon(); err == nil || !strings.HasPrefix(err.Error(), "watch: ") {
		t.Errorf("Wait returns %v, want the error of the timer", err)
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

// A brokenListener has descriptor fd, and gives it with errs.
type brokenListener struct {
	*net.TCPListener
	syscall.RawConn
	fd   int
	errs [2]error
}

func (b brokenListener) SyscallConn() (syscall.RawConn, error) { return b, b.errs[0] }
func (b brokenListener) Control(use func(uintptr)) error       { use(uintptr(b.fd)); return b.errs[1] }

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
	if _, err := New(struct{ net.Listener }{closed}); err == nil || !strings.Contains(err.Error(), "expected a TCP listener") {
		t.Errorf("of a listener that is not a socket: %v", err)
	}
	broken := brokenListener{TCPListener: another.(*net.TCPListener), fd: before}
	if _, err := New(broken); err == nil {
		t.Error("New accepts a listener whose descriptor is closed")
	}
	reason := errors.New("on purpose")
	for _, broken.errs = range [][2]error{{reason, nil}, {nil, reason}} {
		broken.fd = int(r.Listener)
		if _, err := New(broken); err != reason {
			t.Errorf("of a listener that does not give its descriptor: %v", err)
		}
	}
	failures := map[string]bool{}
	for limit := (syscall.Rlimit{Cur: 1}); ; limit.Cur++ { // each step of New once has no descriptor
		var poller *Poller
		withDescriptors(t, limit, func() { poller, err = New(r.owner) })
		if err == nil {
			syscall.Close(poller.queue)
			break
		}
		failures[err.Error()] = true
		if limit.Cur == 1 && !strings.HasPrefix(err.Error(), "epoll_create1: ") && !strings.HasPrefix(err.Error(), "kqueue: ") {
			t.Errorf("without descriptors: %v", err)
		}
		if !errors.Is(err, syscall.EMFILE) || poller != nil {
			t.Fatalf("with %d descriptors: %v, %v", limit.Cur, poller, err)
		}
	}
	if len(failures) != 3 { // of the queue and of two copies of the listening socket
		t.Errorf("New fails with these errors: %v", failures)
	}
	if after, _ := syscall.Dup(0); after != before {
		t.Errorf("the first free descriptor was %d, and is %d", before, after)
	} else {
		syscall.Close(after)
	}
}

// The Poller keeps the listener open, even if nobody else holds it.
func TestListenerIsKept(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	freed := make(chan bool)
	listener := &struct{ *net.TCPListener }{tcp.(*net.TCPListener)}
	runtime.AddCleanup(listener, func(c chan bool) { close(c) }, freed)
	poller, err := New(listener)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(poller.queue)
	runtime.GC()
	select {
	case <-freed:
		t.Error("the listener is freed")
	case <-time.After(quiet):
	}
	runtime.KeepAlive(poller)
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
	const events = 300
	received := make(chan bool)
	defer close(received)
	go func() {
		for range events {
			for range 20 { // most come while the Poller waits
				syscall.Kill(os.Getpid(), syscall.SIGURG)
			}
			io.WriteString(conn, "?")
			<-received
		}
	}()
	for range events {
		r.expect(socket, Readable)
		r.recv(socket, 1)
		r.expectNothing()
		received <- true
	}
}

// postpone changes when all timers are due.
func (r *rig) postpone(by time.Duration) {
	for i, timer := range r.timers {
		due := timer.due.Add(by)
		r.timers[i].due = due
		if r.lingering[timer.socket] == timer.due {
			r.lingering[timer.socket] = due
		}
	}
}

// A client that is still sending after HangUp gets what was sent before, and the
// end. The socket is closed when the client closes. The others are served.
func TestLinger(t *testing.T) {
	r := newRig(t)
	const buffer = 8 << 10
	if err := syscall.SetsockoptInt(int(r.Listener), syscall.SOL_SOCKET, syscall.SO_RCVBUF, buffer); err != nil {
		t.Fatal(err)
	}
	next, nextSocket := r.dial()
	conn, socket := r.dial()
	if err := conn.SetWriteBuffer(buffer); err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, strings.Repeat("x", 6000)) // HangUp discards 4096 bytes at once
	r.expect(socket, Readable)
	answers := strings.Repeat("Ugly.", 400)
	if sent, err := socket.Send([]byte(answers)); sent != len(answers) || err != nil {
		t.Fatalf("sent %d of %d bytes, %v", sent, len(answers), err)
	}
	r.HangUp(socket)
	r.postpone(patience) // a slow machine needs more than a second for what follows
	io.WriteString(conn, "and another thing")
	if got, err := io.ReadAll(conn); string(got) != answers || err != nil {
		t.Errorf("the client read %d bytes, %v, want %d", len(got), err, len(answers))
	}
	written := make(chan error, 1)
	go func() { // more than all buffers take, so that it must be discarded
		_, err := io.WriteString(conn, strings.Repeat("and more", 1<<18))
		conn.Close()
		written <- err
	}()
	for len(r.lingering) > 0 {
		io.WriteString(next, "?")
		r.expect(nextSocket, Readable)
		r.recv(nextSocket, 1)
	}
	if err := <-written; err != nil {
		t.Errorf("what the client sends is not discarded: %v", err)
	}
	r.expectClosed(socket)
}

// When the client of one lingering socket leaves, the other lingers on. The next
// client with the number of the first keeps its connection, and may linger too.
func TestTwoLinger(t *testing.T) {
	r := newRig(t)
	first, firstSocket := r.dial()
	_, secondSocket := r.dial()
	r.Modify(secondSocket, Writable)
	r.HangUp(secondSocket) // so that the timer of the first stays behind this one
	r.HangUp(firstSocket)
	if due := time.Until(r.timers[1].due); due > time.Second {
		t.Errorf("the first socket lingers for %v, want a second", due)
	}
	r.postpone(patience)
	r.expectNothing() // an idle socket that lingers does not make the loop spin
	waiting := r.connect()
	first.Close()
	r.leave(firstSocket)
	if _, lingers := r.lingering[secondSocket]; !lingers {
		t.Error("the other socket does not linger any more")
	}
	for fd := -1; fd < int(firstSocket); { // take the free numbers below it
		var err error
		if fd, err = syscall.Dup(0); err != nil {
			t.Fatal(err)
		}
		if fd >= int(firstSocket) {
			syscall.Close(fd)
			break
		}
		defer syscall.Close(fd)
	}
	r.expect(r.Listener, Readable)
	newcomer, _, ok := r.Accept()
	if !ok || newcomer != firstSocket {
		t.Fatalf("accepted %d, %v, want %d", newcomer, ok, firstSocket)
	}
	r.expect(r.Listener, Readable) // which Accept has added
	io.WriteString(waiting, "?")
	r.expect(newcomer, Readable)
	r.recv(newcomer, 1)
	r.postpone(-time.Hour)
	begin := time.Now()
	r.HangUp(newcomer)
	r.runTimers()
	r.expectClosed(secondSocket)
	if _, lingers := r.lingering[newcomer]; !lingers && time.Since(begin) < lingerTime {
		t.Error("the timer of the first client ends the lingering of the next")
	}
}

// leave waits until the Poller finds that the client of a lingering socket has left.
func (r *rig) leave(socket Socket) {
	r.Helper()
	r.try("the end of a lingering socket", func() bool {
		r.endLinger(socket)
		_, lingers := r.lingering[socket]
		return !lingers
	})
}

// A client that leaves while its socket lingers costs the same beside many others:
// all timers stay where they are until they are the earliest.
func TestManyLinger(t *testing.T) {
	r := newRig(t)
	const clients = 20
	conns, sockets := make([]client, clients), make([]Socket, clients)
	for i := range clients {
		conns[i], sockets[i] = r.dial()
		r.HangUp(sockets[i])
	}
	r.postpone(patience)
	for i := clients - 1; i > 0; i-- {
		conns[i].Close()
		r.leave(sockets[i])
		r.runTimers()
		if len(r.timers) != clients {
			t.Fatalf("%d timers are left when %d clients linger, want %d", len(r.timers), i, clients)
		}
	}
	conns[0].Close()
	r.leave(sockets[0])
	if wait := r.runTimers(); wait >= 0 || len(r.timers) > 0 {
		t.Errorf("when no client lingers, %d timers are left, and the next is due in %v", len(r.timers), wait)
	}
}

// recvEnd closes a socket whose client has left.
func (r *rig) recvEnd(socket Socket) {
	r.Helper()
	r.try("the end of the stream", func() bool {
		_, err := socket.Recv(make([]byte, 1))
		return err == io.EOF
	})
	r.close(socket)
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
	captureLog(func() { r.backOff(syscall.EMFILE) })
	r.connect()
	r.expect(r.Listener, Readable)
	if len(r.timers) != 3 && time.Since(lingering[0].begin) < lingerTime {
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
