//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package zentest

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"fopnp/chapter07/zen/tools/inetd/superserver"
)

// startInetd serves as inetd does, see package superserver. This file is only for
// systems with epoll or kqueue: elsewhere a program that imports package poll, as
// that package does, ends before it listens.
func (s *service) startInetd(t testing.TB) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := tcp.(*net.TCPListener)
	s.address = listener.Addr().String()
	s.options.environment = append(s.options.environment, logVariable+"="+s.logFile)
	serve := superserver.Nowait
	if s.server.Inetd == "wait" {
		serve = superserver.Wait
	}
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Add(2)
	s.stopInetd = func() {
		close(stop)
		if conn, err := net.Dial("tcp", s.address); err == nil { // so that serve calls its Starter
			defer conn.Close()
		}
		running.Wait()
	}
	go func() {
		defer running.Done()
		defer listener.Close()
		serve(listener, func(socket superserver.Socket) (<-chan struct{}, error) {
			select {
			case <-stop:
				return nil, errors.New("the test is over")
			default:
			}
			if !listening(listener) { // it is ready for ever
				return nil, errors.New("the test has destroyed the listening socket")
			}
			command := s.program()
			ended, err := s.begin(command, func() error { return superserver.Start(command, socket) })
			if err != nil {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.ends = append(s.ends, "inetd cannot start it: "+err.Error())
			}
			return ended, err
		})
	}()
	go func() {
		defer running.Done()
		s.followLog(stop)
	}()
}

// listening reports whether listener still listens.
func listening(listener *net.TCPListener) (listens bool) {
	raw, err := listener.SyscallConn()
	if err != nil {
		return false
	}
	raw.Control(func(fd uintptr) { listens = isListening(fd) })
	return listens
}

// followLog copies what is appended to the log file to s.log. A file has no event
// to wait for.
func (s *service) followLog(stop chan struct{}) {
	var file *os.File
	for {
		if status, err := os.Stat(s.logFile); file == nil && err == nil && status.Mode().IsRegular() {
			file, _ = os.Open(s.logFile)
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
