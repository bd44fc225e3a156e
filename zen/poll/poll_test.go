//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package poll

import (
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

// A rig is a Poller with one client, the bell. A test rings the bell to see that
// nothing else happens. What must happen has no time limit but that of go test.
type rig struct {
	*testing.T
	*Poller
	bell       *net.TCPConn
	bellSocket Socket
	log        strings.Builder
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
	r, queue := &rig{T: t, Poller: poller}, poller.queue
	log.SetOutput(&r.log)
	t.Cleanup(func() {
		log.SetOutput(os.Stderr)
		poller.owner.Close()
		syscall.Close(queue)
	})
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

func reset(conn *net.TCPConn) {
	conn.SetLinger(0)
	conn.Close()
}

func isClosed(s Socket) bool {
	_, err := syscall.Getsockname(int(s))
	return err == syscall.EBADF
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
	if r.HangUp(socket); !isClosed(socket) {
		t.Error("HangUp does not close the socket, although the client has closed its side")
	}
}

// A socket may be watched for both events, or for nothing. If it breaks then, the loop
// does not spin.
func TestModify(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	io.WriteString(conn, "?")
	r.Modify(socket, Readable|Writable)
	for both := Event(0); both != Readable|Writable; { // kqueue reports two events
		_, event, _ := r.Wait()
		both |= event
	}
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

// An event of this turn is not reported if the number of its socket is another client's.
func TestStaleEvents(t *testing.T) {
	r := newRig(t)
	conn, other := r.dial()
	io.WriteString(conn, "?")
	io.WriteString(r.bell, "?")
	first, _, _ := r.Wait()
	if first == other {
		other = r.bellSocket
	}
	newcomer := r.successor(other, func() { r.close(other) })
	for range 3 {
		r.expect(first, Readable)
	}
	r.recv(first, "?")
	io.WriteString(newcomer, "!")
	r.expect(other, Readable)
	r.recv(other, "!")
}

// Of a crowd that connects, many are accepted in a turn, even if as many others are
// ready as the system can report. But a turn has an end: the others have their events.
func TestCrowd(t *testing.T) {
	r := newRig(t)
	conn, socket := r.dial()
	const others = len(events{}) - 1
	for range others - 1 { // copies of one: clients would need twice as many descriptors
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

// Out of descriptors, Accept logs that, and pauses the listening socket. The pause ends
// before a timer that is due later, and is short again if a client has been accepted.
func TestShortage(t *testing.T) {
	r := newRig(t)
	var limit syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	for lingering := Socket(1001); lingering <= 1002; lingering++ {
		r.connect()
		r.expect(r.Listener, Readable)
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 1, Max: limit.Max})
		_, _, ok := r.Accept()
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
		if want := "Accept error: " + syscall.EMFILE.Error() + "; retrying in 5ms\n"; ok || !strings.HasSuffix(r.log.String(), want) {
			t.Fatalf("accepted: %v, log: %q, want %q", ok, r.log.String(), want)
		}
		r.lingering[lingering] = r.setTimer(lingering, time.Hour)
		r.dial() // macOS has dropped the client that could not be accepted
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
		{"watch: ", func(r *rig) { // a change fails, and what follows does not hide that
			queue := r.queue
			r.queue = -1
			r.Modify(r.bellSocket, Writable)
			r.queue = queue
			r.Modify(r.bellSocket, Readable)
		}},
		{"watch: ", func(r *rig) { // nor can a client be watched: it is closed
			conn := r.connect()
			r.expect(r.Listener, Readable)
			r.queue = -1
			r.Accept()
			io.ReadAll(conn)
		}},
		{"watch: ", func(r *rig) { // the pause of the listening socket cannot end
			r.backOff(syscall.EMFILE)
			r.owner.Close()
		}},
		{"wait for events: ", func(r *rig) {
			r.queue = -1
			r.Modify(r.bellSocket, Readable) // as before, so there is no system call
		}},
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

// New leaves no descriptor behind if it fails.
func TestNewFails(t *testing.T) {
	next := func() int { // the number of the next descriptor
		fd, _ := syscall.Dup(0)
		defer syscall.Close(fd)
		return fd
	}
	before := next()
	if _, err := New(struct{ net.Listener }{}); err == nil || next() != before {
		t.Errorf("error %v, and the next descriptor is %d; before it was %d", err, next(), before)
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

// A client inherits what package net sets on every connection.
func TestOptions(t *testing.T) {
	r := newRig(t)
	for option, level := range map[int]int{syscall.TCP_NODELAY: syscall.IPPROTO_TCP, syscall.SO_KEEPALIVE: syscall.SOL_SOCKET} {
		if value, err := syscall.GetsockoptInt(int(r.bellSocket), level, option); value == 0 || err != nil {
			t.Errorf("option %d of level %d is %d, %v", option, level, value, err)
		}
	}
}

// What arrives after HangUp is discarded until the client closes, for a second at most. The
// timer of the client before it that had the same number does not end that.
func TestLinger(t *testing.T) {
	r := newRig(t)
	former, socket := r.dial()
	r.Modify(socket, 0)
	r.HangUp(socket)
	r.lingering[socket] = r.setTimer(socket, time.Hour) // so only the end of its client closes it
	conn := r.successor(socket, func() {
		go func() {
			former.Write(make([]byte, 32<<20)) // more than the buffers take
			former.CloseWrite()
		}()
		for !isClosed(socket) {
			r.Wait() // returns because the successor is in the queue
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
