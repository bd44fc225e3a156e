//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package zentest

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"fopnp/chapter07/zen/poll"
)

// startInetd serves as inetd does. This file is only for systems with epoll or kqueue:
// elsewhere a program that imports package poll ends before it listens.
func (s *service) startInetd(t testing.TB) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := tcp.(*net.TCPListener)
	s.address = listener.Addr().String()
	s.options.environment = append(s.options.environment, logVariable+"="+s.logFile)
	serve := nowait
	if s.server.Inetd == "wait" {
		serve = wait
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
		serve(listener, func(socket fileOf) (<-chan struct{}, error) {
			select {
			case <-stop:
				return nil, errors.New("the test is over")
			default:
			}
			if !listening(listener) { // it is ready for ever
				return nil, errors.New("the test has destroyed the listening socket")
			}
			command := s.program()
			ended, err := s.begin(command, func() error { return startWith(command, socket) })
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

// A fileOf is a client's connection, or the listening socket.
type fileOf interface{ File() (*os.File, error) }

// nowait calls start for each client, and does not wait for the program.
func nowait(listener *net.TCPListener, start func(fileOf) (<-chan struct{}, error)) {
	for {
		conn, err := listener.AcceptTCP()
		if err != nil {
			return
		}
		_, err = start(conn)
		conn.Close()
		if err != nil {
			return
		}
	}
}

// wait calls start when a client is in the queue, and waits until the program has ended.
func wait(listener *net.TCPListener, start func(fileOf) (<-chan struct{}, error)) {
	poller, err := poll.New(listener)
	if err != nil {
		return
	}
	for {
		if _, _, err := poller.Wait(); err != nil {
			return
		}
		ended, err := start(listener)
		if err != nil {
			return
		}
		<-ended
	}
}

// startWith starts command with socket as its descriptors 0, 1 and 2.
func startWith(command *exec.Cmd, socket fileOf) error {
	file, err := socket.File()
	if err != nil {
		return err
	}
	defer file.Close()
	command.Stdin, command.Stdout, command.Stderr = file, file, file
	return command.Start()
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
