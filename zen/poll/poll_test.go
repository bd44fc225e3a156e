//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package poll

import (
	"errors"
	"io"
	"log"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A rig is a Poller with one client, the bell. A test rings the bell to see that
// nothing else happens. What must happen has no time limit but that of go test.
type rig struct {
	*testing.T
	*Poller
	bell       *net.TCPConn
	bellSocket Socket
}

func newRig(t *testing.T) *rig {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	poller, err := New(listener)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		poller.owner.Close()
		syscall.Close(poller.queue)
	})
	r := &rig{T: t, Poller: poller}
	r.bell, r.bellSocket = r.dial()
	return r
}

// connect returns the client's end of a connection that is not accepted yet.
func (r *rig) connect() *net.TCPConn {
	conn, err := net.Dial("tcp", r.owner.Addr().String())
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// dial returns the two ends of a connection.
func (r *rig) dial() (conn *net.TCPConn, socket Socket) {
	r.Helper()
	for conn = r.connect(); ; {
		r.expect(r.Listener, Readable)
		if client, _, ok := r.Accept(); ok {
			socket = client
		} else if socket != 0 { // the event that Accept has added is over
			return conn, socket
		}
	}
}

// expect fails if the next event is another one. It skips the event of the listening
// socket that Accept adds, if there is nobody to accept.
func (r *rig) expect(socket Socket, event Event) {
	r.Helper()
	for {
		s, e, err := r.Wait()
		if s == socket && e == event {
			return
		}
		if s == r.Listener {
			if _, _, ok := r.Accept(); !ok {
				continue
			}
		}
		r.Fatalf("event %d of socket %d, %v; want event %d of socket %d", e, s, err, event, socket)
	}
}

// expectNothing fails if there is an event while f runs, or in the turn after.
func (r *rig) expectNothing(f func()) {
	r.Helper()
	go func() {
		f()
		io.WriteString(r.bell, "!")
	}()
	for range 3 {
		r.expect(r.bellSocket, Readable)
	}
	r.recv(r.bellSocket, "!")
}

// recv fails if the next bytes that socket receives are not those of want.
func (r *rig) recv(socket Socket, want string) {
	r.Helper()
	data := make([]byte, len(want))
	if n, err := socket.Recv(data); string(data[:n]) != want || err != nil {
		r.Fatalf("received %q, %v; want %q", data[:n], err, want)
	}
}

func reset(conn *net.TCPConn) {
	conn.SetLinger(0)
	conn.Close()
}

func isClosed(s Socket) bool {
	_, err := syscall.Getsockname(int(s))
	return err == syscall.EBADF
}

// captureLog returns what f logs.
func captureLog(f func()) string {
	var lines strings.Builder
	log.SetOutput(&lines)
	defer log.SetOutput(os.Stderr)
	f()
	return lines.String()
}

// withoutDescriptors runs f while the system gives no descriptor.
func withoutDescriptors(t *testing.T, f func()) {
	var before syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before)
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 1, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	f()
}

// Nothing to transfer is neither an error nor the end, at which HangUp closes at once.
func TestNothingToTransfer(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	if n, err := socket.Recv(make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("received %d, %v, when nothing has arrived", n, err)
	}
	if n, err := Socket(-1).Send(nil); n != 0 || err != nil { // makes no system call
		t.Errorf("sent %d of nothing, %v", n, err)
	}
	for name, call := range map[string]func(Socket, []byte) (int, error){"read": Socket.Recv, "write": Socket.Send} {
		if n, err := call(-1, make([]byte, 1)); n != 0 || err == nil || err.Error() != name+": "+syscall.EBADF.Error() {
			t.Errorf("%s of a closed socket: %d, %v", name, n, err)
		}
	}
	conn.CloseWrite()
	r.expect(socket, Readable)
	r.recv(socket, "") // nothing fits into an empty slice
	if n, err := socket.Recv(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("received %d, %v, want the end", n, err)
	}
	if r.HangUp(socket); !isClosed(socket) {
		t.Error("HangUp does not close the socket, although the client has closed its side")
	}
}

// A socket is reported in each turn if it is ready for what it is watched for, and
// only for that.
func TestModify(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	r.expectNothing(func() {})
	r.Modify(socket, Readable|Writable)
	r.expect(socket, Writable)
	r.Modify(socket, Writable)
	io.WriteString(conn, "?")
	r.expect(socket, Writable)
	r.expect(socket, Writable)
	r.Modify(socket, 0)
	r.expectNothing(func() {})
	r.Modify(socket, Readable)
	r.expect(socket, Readable)
	r.expect(socket, Readable)
	r.Modify(socket, Readable|Writable)
	for both := Event(0); both != Readable|Writable; { // kqueue reports two events
		_, event, _ := r.Wait()
		both |= event
	}
}

// The loop does not spin if a socket breaks that is watched for nothing.
func TestResetWatchedForNothing(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	r.Modify(socket, 0)
	r.expectNothing(func() { reset(conn) })
	io.WriteString(r.bell, "!")
	events := 0
	for range 10 {
		r.nextTurn(-1)
		events += len(r.turn)
	}
	if events > 11 {
		t.Errorf("%d events in 10 turns, want one of the bell in each", events)
	}
	r.expect(r.bellSocket, Readable)
	r.recv(r.bellSocket, "!")
	r.Modify(socket, Readable)
	r.expect(socket, Readable)
}

// An event of this turn is not reported if the socket is not watched for it any more,
// nor if its number is another client's.
func TestStaleEvents(t *testing.T) {
	r := newRig(t)
	var sockets []Socket
	var conns []*net.TCPConn
	for range 3 {
		conn, socket := r.dial()
		conns, sockets = append(conns, conn), append(sockets, socket)
	}
	for _, conn := range conns {
		io.WriteString(conn, "?")
	}
	first, _, _ := r.Wait()
	others := slices.DeleteFunc(sockets, func(s Socket) bool { return s == first })
	r.Modify(others[0], 0)
	newcomer := r.successor(others[1], func() { r.close(others[1]) })
	for range 3 {
		r.expect(first, Readable)
	}
	r.recv(first, "?")
	r.Modify(others[0], Readable)
	r.expect(others[0], Readable)
	r.recv(others[0], "?")
	io.WriteString(newcomer, "!")
	r.expect(others[1], Readable)
	r.recv(others[1], "!")
}

// successor returns a client whose socket gets the number of s when leave has closed s.
func (r *rig) successor(s Socket, leave func()) *net.TCPConn {
	conn := r.connect()
	for fd, err := 0, error(nil); fd < int(s); { // take the numbers below that are free
		if fd, err = syscall.Dup(0); err != nil {
			r.Fatal(err)
		}
		defer syscall.Close(fd)
	}
	leave()
	for {
		if client, _, ok := r.Accept(); ok && client != s {
			r.Fatalf("the next client has number %d, want %d", client, s)
		} else if ok {
			return conn
		}
	}
}

// Of a crowd that connects, many are accepted in a turn, even if as many others are
// ready as the system can report. But a turn has an end: the others have their events.
func TestCrowd(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	const others = len(events{}) - 1
	for range others - 1 { // copies of one, for a process may have few descriptors
		fd, err := syscall.Dup(int(socket))
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(fd)
		r.add(Socket(fd), Readable)
	}
	io.WriteString(conn, "?")
	var crowd []*net.TCPConn
	for range 20 {
		crowd = append(crowd, r.connect())
	}
	const turns, fewest, most = 3, 30, 8 * len(events{})
	accepted := 0
	for reported := 0; reported < turns*others && accepted <= most; {
		if s, _, _ := r.Wait(); s != r.Listener {
			reported++
		} else if client, _, ok := r.Accept(); ok {
			accepted++
			reset(crowd[0]) // it is the one accepted, and another comes
			crowd = append(crowd[1:], r.connect())
			r.close(client)
		}
	}
	if accepted < fewest || accepted > most {
		t.Errorf("%d clients are accepted in %d turns, want %d to %d", accepted, turns, fewest, most)
	}
}

// Out of descriptors, Accept logs that, and pauses the listening socket, longer each
// time until a client is accepted.
func TestShortage(t *testing.T) {
	r := newRig(t)
	for range 2 {
		for _, pause := range []time.Duration{5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond} {
			r.connect()
			r.expect(r.Listener, Readable)
			began, ok := time.Now(), false
			line := captureLog(func() { withoutDescriptors(t, func() { _, _, ok = r.Accept() }) })
			if want := "Accept error: " + syscall.EMFILE.Error() + "; retrying in " + pause.String() + "\n"; ok || !strings.HasSuffix(line, want) {
				t.Fatalf("accepted: %v, log: %q, want %q", ok, line, want)
			}
			r.connect() // macOS has dropped the client that could not be accepted
			r.expect(r.Listener, Readable)
			if waited := time.Since(began); waited < pause {
				t.Errorf("paused for %v, want %v", waited, pause)
			}
		}
		if _, _, ok := r.Accept(); !ok {
			t.Error("no client is accepted after the shortage")
		}
	}
}

// An error that is about one connection neither ends nor pauses anything.
func TestBrokenConnection(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: only on Linux such an error of accept is easy to get")
	}
	r := newRig(t)
	udp, _ := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	defer syscall.Close(udp)
	r.Listener = Socket(udp) // EOPNOTSUPP
	if _, _, ok := r.Accept(); ok || r.err != nil || len(r.timers) > 0 {
		t.Errorf("accepted: %v, error %v, %d timers", ok, r.err, len(r.timers))
	}
}

// If the loop cannot go on, Wait returns the reason at each call.
func TestErrors(t *testing.T) {
	for _, test := range []struct {
		want   string
		happen func(r *rig)
	}{
		{"accept: ", func(r *rig) { // the listening socket is closed
			r.Listener = -1
			r.Accept()
		}},
		{"watch: ", func(r *rig) { // a change fails, and what follows does not hide that
			queue := r.queue
			r.queue = -1
			r.Modify(r.bellSocket, Readable) // as before, so there is no system call
			if r.err != nil {
				r.Error(r.err)
			}
			r.Modify(r.bellSocket, Writable)
			r.queue = queue
			r.Modify(r.bellSocket, Readable)
		}},
		{"watch: ", func(r *rig) { // nor can a client be watched: it is closed
			conn := r.connect()
			r.expect(r.Listener, Readable)
			r.queue = -1
			captureLog(func() { r.Accept() })
			io.ReadAll(conn)
		}},
		{"watch: ", func(r *rig) { // the pause of the listening socket cannot end
			captureLog(func() { r.backOff(syscall.EMFILE) })
			r.owner.Close()
		}},
		{"wait for events: ", func(r *rig) { r.queue = -1 }},
	} {
		r := newRig(t)
		test.happen(r)
		for range 2 {
			if _, _, err := r.Wait(); !errors.Is(err, syscall.EBADF) || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("Wait returns %v, want %s%v", err, test.want, syscall.EBADF)
			}
		}
	}
}

// The address of a client is that of package net.
func TestAddress(t *testing.T) {
	networks, _ := net.Interfaces() // one of them is the loopback interface
	linkLocal := [16]byte{0: 0xfe, 1: 0x80, 15: 1}
	for want, from := range map[string]syscall.Sockaddr{
		"[::1]:1":                              &syscall.SockaddrInet6{Addr: [16]byte{15: 1}, Port: 1},
		"127.0.0.1:5":                          &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 5},
		"127.0.0.1:2":                          &syscall.SockaddrInet6{Addr: [16]byte{10: 255, 11: 255, 12: 127, 15: 1}, Port: 2},
		"[fe80::1%999999]:3":                   &syscall.SockaddrInet6{Addr: linkLocal, Port: 3, ZoneId: 999999},
		"[fe80::1%" + networks[0].Name + "]:4": &syscall.SockaddrInet6{Addr: linkLocal, Port: 4, ZoneId: uint32(networks[0].Index)},
	} {
		if got := tcpAddr(from).String(); got != want {
			t.Errorf("address %s, want %s", got, want)
		}
	}
}

// The Poller keeps the listener open, even if nobody else does.
func TestListenerIsKept(t *testing.T) {
	r := newRig(t)
	for range 2 { // the second finalizer runs after all those of the first collection
		finalized := make(chan bool)
		runtime.SetFinalizer(&struct{ c chan bool }{finalized}, func(any) { close(finalized) })
		runtime.GC()
		<-finalized
	}
	r.dial()
}

// New fails if the listener is no TCP listener, and if there is no descriptor.
func TestNewFails(t *testing.T) {
	r := newRig(t)
	next := func() int { // the number of the next descriptor
		fd, _ := syscall.Dup(0)
		defer syscall.Close(fd)
		return fd
	}
	before := next()
	if _, err := New(struct{ net.Listener }{}); err == nil || !strings.Contains(err.Error(), "expected a TCP listener") {
		t.Errorf("of a listener without a socket: %v", err)
	}
	withoutDescriptors(t, func() {
		if _, err := New(r.owner); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("without a descriptor: %v", err)
		}
	})
	if after := next(); after != before {
		t.Errorf("the next descriptor is %d, want %d", after, before)
	}
}

// A client inherits what package net sets on every connection.
func TestOptions(t *testing.T) {
	r := newRig(t)
	for option, level := range map[int]int{syscall.TCP_NODELAY: syscall.IPPROTO_TCP, syscall.SO_KEEPALIVE: syscall.SOL_SOCKET} {
		if value, err := syscall.GetsockoptInt(int(r.bellSocket), level, option); value == 0 || err != nil {
			t.Errorf("option %d of level %d is %d, %v", option, level, value, err)
		}
	}
}

// After HangUp the client gets the end of the stream. What it sends is discarded until
// it closes.
func TestHangUp(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	r.Modify(socket, 0)
	r.HangUp(socket)
	r.lingering[socket] = r.setTimer(socket, time.Hour)
	r.expectNothing(func() {
		got, err := io.ReadAll(conn)
		_, writeErr := conn.Write(make([]byte, 32<<20)) // more than the buffers take
		if len(got) > 0 || err != nil || writeErr != nil {
			t.Errorf("the client read %q, %v, and wrote: %v", got, err, writeErr)
		}
		conn.Close()
	})
	io.WriteString(r.bell, "!")
	for !isClosed(socket) {
		r.expect(r.bellSocket, Readable)
	}
}

// A client that does not close is closed after a second. The timer of the client before
// it that had the same number does not end that.
func TestLingerEnds(t *testing.T) {
	r := newRig(t)
	former, socket := r.dial()
	r.HangUp(socket)
	conn := r.successor(socket, func() {
		for former.CloseWrite(); !isClosed(socket); {
			r.endLinger(socket)
		}
	})
	time.Sleep(lingerTime / 10)
	began := time.Now()
	r.HangUp(socket)
	longest := time.Until(r.lingering[socket])
	r.expectNothing(func() {
		for err := error(nil); err == nil; time.Sleep(time.Millisecond) {
			_, err = conn.Write([]byte("x"))
		}
	})
	if waited := time.Since(began); waited < time.Second || longest > time.Second {
		t.Errorf("lingers for %v, closed after %v; want a second", longest, waited)
	}
}

// Timers stand in the order in which they are due. That of a client that has left stays
// until it is the first: to look for it would take longer, the more sockets linger.
func TestTimers(t *testing.T) {
	r := newRig(t)
	lingering := []Socket{1001, 1002, 1003}
	for _, socket := range lingering {
		r.lingering[socket] = r.setTimer(socket, time.Hour)
	}
	captureLog(func() { r.backOff(syscall.EMFILE) })
	if r.timers[0].socket != r.Listener {
		t.Error("the timer that is due first stands behind others")
	}
	for r.watched[r.Listener] == 0 {
		r.runTimers()
	}
	for _, socket := range slices.Backward(lingering) {
		if r.runTimers(); len(r.timers) != len(lingering) {
			t.Errorf("%d timers are left when %d has not left, want %d", len(r.timers), socket, len(lingering))
		}
		delete(r.lingering, socket)
	}
	if r.runTimers(); len(r.timers) > 0 {
		t.Errorf("when no client lingers, %d timers are left", len(r.timers))
	}
}
