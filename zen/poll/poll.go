//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

// Package poll is the piece of an event loop that has to ask the operating
// system: sockets that never make their caller wait, and a Poller that waits for
// all of them at once. It stands where Python has its socket and select modules,
// under listings 7-6 to 7-9. Go keeps the like inside its runtime, under every
// [net.Conn].
//
// # What an event means
//
// A Poller is level-triggered: as long as a socket can be read from (or written
// to) without waiting, and is watched for it, every turn of the loop says so
// again. So one Recv for each [Readable] is enough, whatever it leaves behind,
// and one that floods the server gets no more of its time in a turn than one that
// asks now and then. For the same reason a server must not watch for what it
// does not want: a socket can nearly always be written to, so watch for
// [Writable] only while there is something left to send.
//
// Readable also means that the client has closed its side: Recv then returns
// [io.EOF], after all that it sent before. And where the connection is broken
// the socket is said to be ready for whatever it is watched for, so that the next
// Recv or Send tells why. There is no event for a hangup to be handled before
// the others: to obey it at once would be to lose what the client still said.
//
// Finish sending before you read more. A server that reads on while its answers
// are waiting collects them without limit for a client that never reads.
//
// # Who owns a descriptor
//
// A [Socket] is a descriptor, which is a small number, and the kernel hands out
// the lowest that is free. The moment a socket is closed its number may be the
// next client's. So forget all that is filed under it at the moment you close
// it, and close it with [Poller.Close], which forgets in this package too what
// the kernel had to say of it.
//
// A Poller and its sockets are used by one goroutine.
package poll

import (
	"errors"
	"io"
	"iter"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"fopnp/chapter07/zen"
)

// An Event says what can be done to a socket without waiting. It is a set; who
// watches for one of the two is told of that one alone.
type Event uint8

const (
	Readable Event = 1 << iota // Recv or Accept has something to return
	Writable                   // Send can take something
)

// A Socket is a descriptor of a non-blocking socket.
type Socket int

// ErrWouldBlock is what Accept returns where it would have to wait. Recv and Send
// then have done nothing, and say so with 0 and no error: a server that is told
// to try once too often does not take that for the end of a client.
var ErrWouldBlock = errors.New("operation would block")

// Recv reads into data what has arrived, and returns how much. Its errors are
// [io.EOF] where the client has closed its side, and what broke the connection.
func (s Socket) Recv(data []byte) (int, error) {
	n, err := retry(func() (int, error) { return syscall.Read(int(s), data) })
	switch {
	case err == syscall.EAGAIN:
		return 0, nil
	case err == nil && n == 0:
		return 0, io.EOF
	}
	return max(n, 0), os.NewSyscallError("read", err)
}

// Send hands the kernel as much of data as it takes at once, and returns how
// much that is. Its errors are what broke the connection.
func (s Socket) Send(data []byte) (int, error) {
	if len(data) == 0 {
		return 0, nil
	}
	n, err := retry(func() (int, error) { return syscall.Write(int(s), data) })
	if err == syscall.EAGAIN {
		return 0, nil
	}
	return max(n, 0), os.NewSyscallError("write", err)
}

// Accept returns the next client of a listening socket, the caller's to close,
// and its address. Its errors are [ErrWouldBlock] and a shortage.
func (s Socket) Accept() (Socket, net.Addr, error) {
	var from syscall.Sockaddr
	fd, err := retry(func() (fd int, err error) {
		fd, from, err = accept(int(s))
		return fd, err
	})
	if err == syscall.EAGAIN || err == syscall.ECONNABORTED { // it came and went
		return 0, nil, ErrWouldBlock
	}
	if err != nil {
		return 0, nil, os.NewSyscallError("accept", err)
	}
	// Answers are small and somebody waits for them, so each is sent at once. And
	// a client that vanishes without a word is found out, when the system's
	// keepalive says so.
	syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1)
	return Socket(fd), address(from), nil
}

// Close closes the socket at once. [Poller.Close] is what a client deserves.
func (s Socket) Close() error { return os.NewSyscallError("close", syscall.Close(int(s))) }

// retry calls call again when a signal has interrupted it: Go's scheduler sends
// its threads signals of its own.
func retry(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); err != syscall.EINTR {
			return n, err
		}
	}
}

// address returns sa as package net would, but for a zone, which is a number.
func address(sa syscall.Sockaddr) net.Addr {
	var ip netip.Addr
	var port int
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		ip, port = netip.AddrFrom4(sa.Addr), sa.Port
	case *syscall.SockaddrInet6:
		ip, port = netip.AddrFrom16(sa.Addr).Unmap(), sa.Port
		if sa.ZoneId != 0 {
			ip = ip.WithZone(strconv.Itoa(int(sa.ZoneId)))
		}
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port)))
}

// A Poller waits until one of many sockets is ready.
type Poller struct {
	fd      int // of the kernel's own list of the sockets
	ready   []readiness
	backoff zen.Backoff
	timers  map[Socket]timer
	next    time.Time // no timer is due before, if there are any
}

// A timer is what is to be done with a socket at some time: to close it, or to
// watch it again.
type timer struct {
	due     time.Time
	closing bool
}

// A readiness is one event that the kernel reported.
type readiness struct {
	socket Socket
	event  Event
}

// New returns a Poller and the socket of listener, which it takes over, to be
// watched for [Readable]: a client is at the door.
func New(listener net.Listener) (*Poller, Socket, error) {
	// A descriptor of our own: the one of listener belongs to the runtime's event
	// loop, and is closed with listener.
	conn, err := listener.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, 0, err
	}
	var fd int
	syscall.ForkLock.RLock()
	controlErr := conn.Control(func(theirs uintptr) { fd, err = syscall.Dup(int(theirs)) })
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err = errors.Join(controlErr, os.NewSyscallError("dup", err)); err != nil {
		return nil, 0, err
	}
	listener.Close()
	p := &Poller{timers: map[Socket]timer{}}
	if p.fd, err = create(); err != nil {
		return nil, 0, os.NewSyscallError("create poller", err)
	}
	return p, Socket(fd), p.Register(Socket(fd), Readable)
}

// Register begins to watch s for event. It fails where the kernel has no room
// for one more.
func (p *Poller) Register(s Socket, event Event) error {
	return os.NewSyscallError("register", p.add(s, event))
}

// Modify watches s, which is registered, for event from now on, and ends a Pause.
func (p *Poller) Modify(s Socket, event Event) {
	delete(p.timers, s)
	if err := p.modify(s, event); err != nil {
		panic(err) // s is not registered: the caller's mistake
	}
}

// Unregister stops watching s, which is registered. No event of s is handed out
// from here on, not even one that the kernel has reported already.
func (p *Poller) Unregister(s Socket) {
	if err := p.remove(s); err != nil {
		panic(err) // s is not registered: the caller's mistake
	}
	p.forget(s)
}

// forget drops what is to be done with s, and what is known of it.
func (p *Poller) forget(s Socket) {
	delete(p.timers, s)
	for i := range p.ready {
		if p.ready[i].socket == s {
			p.ready[i].event = 0
		}
	}
}

// Pause does not watch s for a while, and then for [Readable]. The loop goes on.
func (p *Poller) Pause(s Socket, while time.Duration) {
	p.Modify(s, 0)
	p.after(while, s, false)
}

// after sets the timer of s.
func (p *Poller) after(while time.Duration, s Socket, closing bool) {
	due := time.Now().Add(while)
	if len(p.timers) == 0 || due.Before(p.next) {
		p.next = due
	}
	p.timers[s] = timer{due, closing}
}

// Accept returns the next client of listener, watched for [Readable] and the
// caller's to Close, and its address. It is not ok where the client is gone
// already. Nor is it where the system is out of descriptors: then Accept says
// so, and pauses listener, a [zen.Backoff] long; to Modify listener would end that.
func (p *Poller) Accept(listener Socket) (client Socket, address net.Addr, ok bool) {
	client, address, err := listener.Accept()
	if err == ErrWouldBlock {
		return 0, nil, false
	}
	if err == nil {
		if err = p.Register(client, Readable); err != nil {
			client.Close()
		}
	}
	if err != nil {
		p.Pause(listener, p.backoff.Failed(err))
		return 0, nil, false
	}
	p.backoff = 0
	return client, address, true
}

// Close closes s and yields no more events of it. Where the client has not closed
// its side, and may still be sending, s lingers: the client is told that there
// will be no more, and for [zen.LingerTime] what it sends is thrown away. To close
// at once would reset the connection, and with it the answers on their way.
func (p *Poller) Close(s Socket) {
	if p.discard(s) {
		return
	}
	p.forget(s)
	p.Modify(s, Readable)
	syscall.Shutdown(int(s), syscall.SHUT_WR)
	p.after(zen.LingerTime, s, true)
}

// discard throws away what a client sends that nobody listens to any more, and
// closes s when that has ended.
func (p *Poller) discard(s Socket) (closed bool) {
	var unwanted [4096]byte
	if _, err := s.Recv(unwanted[:]); err == nil {
		return false
	}
	p.Unregister(s)
	s.Close()
	return true
}

// Events waits, and yields every event, turn after turn, until the loop over it
// is left. It panics where the kernel refuses to wait: a mistake of this package.
func (p *Poller) Events() iter.Seq2[Socket, Event] {
	return func(yield func(Socket, Event) bool) {
		for {
			for i := 0; i < len(p.ready); i++ {
				ready := p.ready[i]
				p.ready[i].event = 0
				switch {
				case ready.event == 0:
				case p.timers[ready.socket].closing:
					p.discard(ready.socket)
				case !yield(ready.socket, ready.event):
					return
				}
			}
			p.ready = p.ready[:0]
			if err := p.wait(p.runTimers()); err != nil && err != syscall.EINTR {
				panic(os.NewSyscallError("wait for events", err))
			}
		}
	}
}

// runTimers does what is due, and returns how long it is to the next timer; less
// than 0 is for ever.
func (p *Poller) runTimers() time.Duration {
	if len(p.timers) == 0 {
		return -1
	}
	now := time.Now()
	if left := p.next.Sub(now); left > 0 {
		return left
	}
	p.next = now.Add(time.Hour)
	for s, timer := range p.timers {
		switch {
		case timer.due.After(now):
			if timer.due.Before(p.next) {
				p.next = timer.due
			}
		case timer.closing:
			p.Unregister(s)
			s.Close()
		default:
			p.Modify(s, Readable)
		}
	}
	return p.runTimers()
}
