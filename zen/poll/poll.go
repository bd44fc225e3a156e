// Package poll waits for many sockets at once. It takes the place of Python's
// select and socket modules in listings 7-6 to 7-9. Go's runtime has such an
// event loop inside, under every [net.Conn]; this package is one that you can
// read. It uses epoll on Linux, and kqueue on macOS and the BSDs.
//
// A program calls [Poller.Wait] in a loop, and does for each event what can be done
// without waiting. The system reports up to 128 events at once: a turn. A [Poller]
// is level-triggered: an event is repeated in each turn until its cause is gone. So
// a program calls Recv once for each Readable event; if more has arrived than Recv
// took, there is another event in the next turn. A client that never stops sending
// gets one Recv in a turn, as every other client does.
//
// Watch a socket for what you want from it, and no more. A socket is nearly
// always Writable, so watch for that only while you have something to send. And
// while you have something to send do not watch for Readable: a client that
// sends questions and never reads the answers could otherwise fill your memory.
//
// All methods of a Poller and its sockets must be called by one goroutine.
package poll

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"fopnp/chapter07/zen/listening"
)

// An Event says what a socket is ready for, or what it is watched for. It is a
// set: Readable, Writable, both or 0. A connection that is broken is ready for
// everything, so that the next Recv or Send returns the error.
type Event uint8

const (
	Readable Event = 1 << iota // Recv or Accept has something to return
	Writable                   // Send can take something
)

// A Socket is the descriptor of a socket that never blocks.
//
// Its number is free for the next client as soon as you close it, so forget
// everything that you have stored under that number when you call
// [Poller.HangUp].
type Socket descriptor

// Recv reads what has arrived into data, and returns how many bytes. It returns
// 0 and no error if nothing has arrived, io.EOF if the client has closed its
// side, and another error if the connection is broken.
func (s Socket) Recv(data []byte) (int, error) {
	n, err := syscall.Read(descriptor(s), data)
	if n == 0 && err == nil && len(data) > 0 {
		return 0, io.EOF
	}
	return transferred("read", n, err)
}

// Send gives data to the system, and returns how many bytes the system took. It
// returns less than len(data) and no error if the system has no room for more,
// and an error if the connection is broken.
func (s Socket) Send(data []byte) (int, error) {
	if len(data) == 0 {
		return 0, nil
	}
	n, err := syscall.Write(descriptor(s), data)
	return transferred("write", n, err)
}

// transferred returns how many bytes a system call has read or written. A call that
// would block or was interrupted has transferred none; the event comes again.
func transferred(call string, n int, err error) (int, error) {
	if err == syscall.EAGAIN || err == syscall.EINTR {
		return 0, nil
	}
	return max(n, 0), os.NewSyscallError(call, err)
}

// A Poller waits for a listening socket and the clients that it accepts.
type Poller struct {
	Listener Socket // the listening socket; Readable means that a client can be accepted

	owner     net.Listener         // keeps the descriptor of Listener open: without it, garbage collection closes it
	queue     int                  // the descriptor of epoll or kqueue
	watched   []Event              // what each socket is watched for, by its number
	events    events               // room for what the system reports in a turn
	turn      []readiness          // the events of this turn; Accept may add some
	next      int                  // the index in turn of the event that is next for Wait
	handled   int                  // events since the last call of runtime.Gosched
	backoff   time.Duration        // how long Listener was not watched after the last error, or 0
	timers    []timer              // the earliest first
	lingering map[Socket]time.Time // when to close each socket that lingers
	err       error                // what has failed; Wait returns it
}

type readiness struct {
	socket Socket
	event  Event
}

// longestTurn limits the events of a turn, with those that Accept adds. It is larger
// than what the system reports at once, so that Accept can add some in each turn.
const longestTurn = 2 * len(events{})

// New returns a Poller that watches listener. From then on only the Poller may use
// listener. New returns an error if listener is not a [net.TCPListener] and does
// not embed one, if the system has neither epoll nor kqueue, and if it has no
// descriptor left.
func New(listener net.Listener) (*Poller, error) {
	queue, err := open()
	if err != nil {
		return nil, err
	}
	p := &Poller{owner: listener, queue: queue, lingering: map[Socket]time.Time{}}
	if p.Listener, err = listeningSocket(listener); err == nil {
		err = p.add(p.Listener, Readable)
	}
	if err != nil {
		syscall.Close(descriptor(queue))
		return nil, err
	}
	return p, nil
}

// listeningSocket returns the socket of listener. It sets on that socket the options
// that clients need: every client inherits them.
func listeningSocket(listener net.Listener) (Socket, error) {
	tcp, ok := listener.(interface {
		syscall.Conn
		File() (*os.File, error)
	})
	if !ok {
		return 0, fmt.Errorf("poll: expected a TCP listener, got %T", listener)
	}
	// FileConn sets the options of a connection: send without delay, and probe a
	// silent client after 15 s. It sets them on a listening socket too, which is all
	// that the copy is for.
	file, err := tcp.File()
	if err != nil {
		return 0, err
	}
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	var s Socket
	err = raw.Control(func(fd uintptr) { s = Socket(fd) })
	return s, err
}

// Wait returns the next event, and the socket that it is about. It waits if there is
// none. An event is always one that the socket is watched for. Wait returns an error
// if the listening socket or the Poller fails, and then the same error at each call.
func (p *Poller) Wait() (Socket, Event, error) {
	for p.err == nil {
		if p.next == len(p.turn) {
			if timeout := p.runTimers(); p.err == nil {
				p.nextTurn(timeout)
			}
			continue
		}
		// Since the turn began, the program may have closed the socket, or may watch
		// it for something else. Then it must not see this event.
		ready := p.turn[p.next]
		p.next++
		if _, lingers := p.lingering[ready.socket]; lingers {
			p.endLinger(ready.socket)
		} else if event := ready.event & p.watched[ready.socket]; event != 0 {
			return ready.socket, event, nil
		}
	}
	return 0, 0, p.err
}

// nextTurn waits for the events of a turn. After timeout there are none. A negative
// timeout is forever.
func (p *Poller) nextTurn(timeout time.Duration) {
	// When a goroutine has run for 10 ms, Go's runtime may hand its processor to
	// another thread at each system call, and taking it back costs time. Gosched
	// starts the 10 ms again.
	if p.handled += len(p.turn); p.handled > 256 {
		p.handled = 0
		runtime.Gosched()
	}
	p.turn, p.next = p.turn[:0], 0
	// macOS may return ETIMEDOUT when nothing is wrong.
	if err := p.poll(timeout); err != nil && err != syscall.EINTR && err != syscall.ETIMEDOUT {
		p.err = os.NewSyscallError("wait for events", err)
	}
}

// Accept returns the next client, watched for Readable, and its address. The
// program closes it with HangUp. If ok is false, there is no client: it has already
// left, or accepting failed. If the system is out of descriptors or memory, Accept
// logs that, and does not watch the listening socket for 5 ms; that doubles, up to a
// second, while the error comes again. If the socket is closed or does not listen,
// the next Wait returns that error.
//
// When Accept has returned a client, it adds another event of the listening socket to
// this turn. So a thousand clients that connect at once need a few turns, and not a
// thousand.
func (p *Poller) Accept() (client Socket, address net.Addr, ok bool) {
	client, from, err := accept(p.Listener)
	switch {
	case err == nil:
	case err == syscall.EAGAIN, err == syscall.EINTR, listening.ClientGone(err):
		return 0, nil, false
	case listening.Broken(err):
		p.err = os.NewSyscallError("accept", err)
		return 0, nil, false
	default:
		p.backOff(err)
		return 0, nil, false
	}
	if err := p.add(client, Readable); err != nil {
		p.close(client)
		p.backOff(err)
		return 0, nil, false
	}
	p.backoff = 0
	if len(p.turn) < longestTurn {
		p.turn = append(p.turn, readiness{p.Listener, Readable})
	}
	return client, tcpAddr(from), true
}

// tcpAddr returns the address of a client as package net does.
func tcpAddr(from syscall.Sockaddr) *net.TCPAddr {
	switch from := from.(type) {
	case *syscall.SockaddrInet4:
		return &net.TCPAddr{IP: from.Addr[:], Port: from.Port}
	case *syscall.SockaddrInet6:
		return &net.TCPAddr{IP: from.Addr[:], Port: from.Port, Zone: zone(from.ZoneId)}
	}
	return &net.TCPAddr{}
}

// zone returns the name of an IPv6 zone, or its number if it has no name.
func zone(id uint32) string {
	if id == 0 {
		return ""
	}
	if network, err := net.InterfaceByIndex(int(id)); err == nil {
		return network.Name
	}
	return strconv.Itoa(int(id))
}

// add starts to watch s for event.
func (p *Poller) add(s Socket, event Event) error {
	for len(p.watched) <= int(s) {
		p.watched = append(p.watched, 0)
	}
	p.watched[s] = event
	return p.control(addSocket, s, event)
}

// Modify sets what s is watched for. It makes a system call only if that changes. If
// the call fails, the next Wait returns the error.
func (p *Poller) Modify(s Socket, event Event) {
	if p.watched[s] == event {
		return
	}
	p.watched[s] = event
	if err := p.control(modifySocket, s, event); err != nil {
		p.err = os.NewSyscallError("watch", err)
	}
}

// HangUp ends the connection of s, and Wait returns s no more. HangUp closes s at
// once if it finds the end of what the client sends. If not, closing could reset
// the connection, and the client would lose answers that it has not read yet. So
// HangUp sends the end of the stream, and the Poller discards what arrives until
// the client closes too, for a second at most.
func (p *Poller) HangUp(s Socket) {
	if ended := s.discard(); ended {
		p.close(s)
	} else {
		p.linger(s)
	}
}

// close closes s. Its number may be the next client's, so no event of this turn
// may remain.
func (p *Poller) close(s Socket) {
	delete(p.lingering, s)
	for i := range p.turn {
		if p.turn[i].socket == s {
			p.turn[i].event = 0
		}
	}
	syscall.Close(descriptor(s))
}
