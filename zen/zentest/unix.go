//go:build unix

package zentest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"fopnp/chapter07/zen/poll"
)

var (
	nothing   os.Signal = syscall.Signal(0)
	terminate os.Signal = syscall.SIGTERM
	harmless            = []os.Signal{syscall.SIGURG, syscall.SIGWINCH}
)

func makePipe(path string) error { return syscall.Mkfifo(path, 0o666) }

// destroyListeners makes every listening socket of this process one that does not
// listen.
func destroyListeners() {
	for fd := range 100 {
		if n, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); err == nil && n != 0 {
			syscall.Shutdown(fd, syscall.SHUT_RDWR)
		}
	}
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
				break // a client can be accepted
			}
			return listener.File()
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
			if err != nil {
				t.Errorf("inetd: %v", err)
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
		if lines, err := io.ReadAll(file); file != nil && err == nil && len(lines) > 0 {
			s.log.Write(lines)
		}
		select {
		case <-stop:
			file.Close()
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}
