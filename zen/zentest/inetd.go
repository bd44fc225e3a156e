//go:build unix

package zentest

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/poll"
)

// An Exit is how a program must end: the one line that it prints or logs, and its
// status.
type Exit struct {
	Line   string
	Status int
}

// CheckStandardInput runs the program with each kind of socket as its standard
// input: "none", "UDP", "UNIX", "UNIX listener", "TCP listener", "TCP connection"
// or "TCP reset", a connection that the client has reset. With "none" the program
// must print the line on standard error, because a person has started it. With
// the others the line must be in the log.
func CheckStandardInput(t *testing.T, want map[string]Exit) {
	for kind, exit := range want {
		t.Run(kind, func(t *testing.T) {
			stdout, stderr, logged, status := Run(t, socket(t, kind))
			wantStderr, wantLogged := "", exit.Line
			if kind == "none" {
				wantStderr, wantLogged = exit.Line, ""
			}
			if stdout != "" || stderr != wantStderr || logged != wantLogged || status != exit.Status {
				t.Errorf("status %d, printed %q and %q, log %q; want %v", status, stdout, stderr, logged, exit)
			}
		})
	}
}

// socket returns a socket of the kind, or nil for "none".
func socket(t *testing.T, kind string) *os.File {
	file := func(conn any, err error) *os.File {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.(io.Closer).Close() })
		file, err := conn.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		return file
	}
	path := fmt.Sprintf("%s/zen%d.sock", os.TempDir(), os.Getpid()) // t.TempDir may be too long for it
	switch kind {
	case "none":
		return nil
	case "TCP listener":
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		return file(listener, err)
	case "UDP":
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		return file(conn, err)
	case "UNIX listener":
		listener, err := net.Listen("unix", path)
		return file(listener, err)
	case "UNIX":
		listener, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		conn, err := net.Dial("unix", path)
		return file(conn, err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	conn, err := listener.Accept()
	server := file(conn, err)
	if kind == "TCP reset" {
		reset(client.(*net.TCPConn))
		conn.SetReadDeadline(time.Now().Add(patience))
		conn.(io.Reader).Read(make([]byte, 1)) // waits until it has arrived
		return server
	}
	io.WriteString(client, question)
	client.(*net.TCPConn).CloseWrite()
	return server
}

// CheckIdle checks that a server under inetd exits after so many seconds without
// a client, and not in the middle of a conversation, and that the next client
// starts it again.
func CheckIdle(t *testing.T, server Server, seconds int) {
	idle := time.Duration(seconds) * time.Second
	s := start(t, server, options{})
	conn := s.connect(t)
	ask(t, conn)
	conn.SetReadDeadline(time.Now().Add(idle + time.Second))
	if n, err := conn.Read(make([]byte, 1)); !os.IsTimeout(err) {
		t.Fatalf("in the middle of a conversation: read %d bytes, %v", n, err)
	}
	ask(t, conn)
	end := time.Now()
	conn.Close()
	s.log.await(t, fmt.Sprintf(`^Waited %d seconds with no further connections; shutting down$`, seconds))
	if waited := time.Since(end); waited < idle {
		t.Errorf("it has waited %v", waited)
	}
	s.serveOne(t)
}

// CheckLeaving checks that no client is lost that connects while a server under
// inetd leaves. The server waits for a millisecond only.
func CheckLeaving(t *testing.T, server Server) {
	s := start(t, server, options{environment: []string{impatientVariable + "=1ms"}})
	for i := range 30 {
		s.serveOne(t)
		s.log.awaitTimes(t, i+1, `^timeout$`) // it has still to exit
	}
	for range 200 { // some come while it waits, some while it leaves
		s.serveOne(t)
		time.Sleep(900 * time.Microsecond)
	}
}

// impatient is a server that mirrors in_zen2, but exits after timeout.
func impatient(timeout time.Duration) {
	zen.RedirectOutput()
	listener := zen.StdinListener()
	listener.Timeout = timeout
	err := zen.AcceptConnectionsForever(listener)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		log.Fatal(err)
	}
	log.Print("timeout")
}

// startInetd does what inetd does. For "nowait" it accepts each client, and starts
// the program with that client as descriptors 0, 1 and 2. For "wait" it waits for
// a client, starts the program with the listening socket, and does nothing more
// until the program has ended.
func (s *service) startInetd(t testing.TB) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := tcp.(*net.TCPListener)
	s.address = tcp.Addr().String()
	s.options.environment = append(s.options.environment, logVariable+"="+s.dir+"/zen.log")

	next := func() (*os.File, error) {
		conn, err := listener.AcceptTCP()
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		return conn.File()
	}
	if s.server.Inetd == "wait" {
		poller, err := poll.New(tcp)
		if err != nil {
			t.Fatal(err)
		}
		next = func() (*os.File, error) {
			for range poller.Events() {
				return listener.File() // a client can be accepted
			}
			return nil, poller.Err()
		}
	}

	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Add(2)
	s.stopInetd = func() {
		close(stop)
		if conn, err := net.Dial("tcp", s.address); err == nil { // wakes next
			defer conn.Close()
		}
		running.Wait()
	}
	go func() {
		defer running.Done()
		defer tcp.Close()
		for {
			socket, err := next()
			select {
			case <-stop:
				return
			default:
			}
			if err != nil || !listening(listener) { // a test may have destroyed the socket
				t.Logf("inetd: the listening socket is destroyed, %v", err)
				<-stop
				return
			}
			ended := s.startUnderInetd(t, socket)
			if s.server.Inetd == "wait" {
				<-ended
			}
		}
	}()
	go func() {
		defer running.Done()
		s.followLog(stop)
	}()
}

// listening reports whether listener still listens. A destroyed one is ready for
// ever, and would start the program again and again.
func listening(listener *net.TCPListener) (listens bool) {
	raw, err := listener.SyscallConn()
	if err != nil {
		return false
	}
	raw.Control(func(fd uintptr) {
		n, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
		listens = err == nil && n != 0
	})
	return listens
}

// startUnderInetd starts the program with socket, which it closes here.
func (s *service) startUnderInetd(t testing.TB, socket *os.File) (ended chan struct{}) {
	defer socket.Close()
	command := s.program()
	command.Stdin, command.Stdout, command.Stderr = socket, socket, socket
	ended, err := s.begin(command)
	if err != nil {
		t.Errorf("inetd: %v", err)
		ended = make(chan struct{})
		close(ended)
	}
	return ended
}

// followLog copies what is appended to the log file to s.log. A file has no event
// to wait for.
func (s *service) followLog(stop chan struct{}) {
	var file *os.File
	for {
		if status, err := os.Stat(s.dir + "/zen.log"); file == nil && err == nil && status.Mode().IsRegular() {
			file, _ = os.Open(s.dir + "/zen.log")
		}
		if file != nil {
			if lines, err := io.ReadAll(file); err == nil && len(lines) > 0 {
				s.log.Write(lines)
			}
		}
		select {
		case <-stop:
			file.Close()
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}
