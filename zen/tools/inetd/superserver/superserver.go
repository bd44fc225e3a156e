//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

// Package superserver does what inetd does with one line of its inetd.conf. Under
// "nowait" it accepts each client, and starts a program for it. Under "wait" it only
// finds out that a client is there: the program accepts.
package superserver

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/poll"
)

// A Service is a listening socket, and the program that answers its clients.
type Service struct {
	Listener zen.Listener
	Wait     bool             // the program gets the listening socket; otherwise, a client's connection
	Command  func() *exec.Cmd // returns a new command for each start; several goroutines call it
	Pause    time.Duration    // the time between two tries to start and, under wait, at least between two starts
	Signal   syscall.Signal   // ends the programs when Serve's context is done
	Log      *log.Logger

	running sync.RWMutex // locked for reading while a program runs, and for writing from End on
}

// Serve serves clients, and logs who listens, is accepted, starts and ends. It returns
// an error when the socket does not listen any more, because somebody who shares it has
// shut it down or, under nowait, closed it. Programs that run go on, until ctx is done:
// then each gets Signal.
func (s *Service) Serve(ctx context.Context) error {
	s.Log.Printf("Listening at %v for %s", s.Listener.Addr(), s.Command().Args[0])
	if s.Wait {
		return s.serveWait(ctx)
	}
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			return err
		}
		s.Log.Printf("Accepted connection from %v", conn.RemoteAddr())
		go func() { // the next client does not wait for a program that cannot be started
			for s.run(ctx, conn.(*net.TCPConn)) != nil {
				time.Sleep(s.Pause)
			}
		}()
	}
}

// serveWait starts a program when a client is in the queue, and waits until that program
// has ended. If it has accepted no client, it is started again.
func (s *Service) serveWait(ctx context.Context) error {
	poller, err := poll.New(s.Listener)
	if err != nil {
		return err
	}
	for {
		socket, _, err := poller.Wait() // returns when a client is in the queue
		if err != nil {
			return err
		}
		// A socket that does not listen any more is always ready.
		if listens, err := syscall.GetsockoptInt(int(socket), syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); err != nil || listens == 0 {
			return errors.New("the socket does not listen any more")
		}
		s.Log.Printf("A client is in the queue at %v", s.Listener.Addr())
		next := time.After(s.Pause)
		s.run(ctx, s.Listener)
		<-next
	}
}

// A socket is a client's connection, or the listening socket.
type socket interface {
	File() (*os.File, error)
	Close() error
}

// run starts a program with socket as its descriptors 0, 1 and 2, and waits until the
// program has ended. It logs and returns an error if the program cannot be started.
// Otherwise it closes a client's connection, of which the program has a copy.
func (s *Service) run(ctx context.Context, socket socket) error {
	s.running.RLock()
	defer s.running.RUnlock()
	command := s.Command()
	file, err := socket.File()
	if err == nil {
		command.Stdin, command.Stdout, command.Stderr = file, file, file
		err = command.Start() // makes the socket blocking, as a program expects
		file.Close()
	}
	if err != nil {
		s.Log.Printf("Start error: %v; retrying in %v", err, s.Pause)
		return err
	}
	if !s.Wait {
		socket.Close()
	}
	pid := command.Process.Pid
	command.Process.Release() // in place of Wait: see await
	s.Log.Printf("Started %s as process %d", command.Args[0], pid)
	s.Log.Printf("Ended process %d: %s", pid, s.await(ctx, pid))
	return nil
}

// await waits until a process has ended, and returns how. When ctx is done, it sends
// Signal. The Wait of os/exec blocks a thread for each process. So await asks without
// blocking, each time SIGCHLD says that some child has ended. Until then the process is a
// zombie.
func (s *Service) await(ctx context.Context, pid int) (how string) {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	defer signal.Stop(children)
	for {
		var status syscall.WaitStatus
		ended, _ := syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
		switch {
		case ended != pid:
		case status.Signaled():
			return fmt.Sprintf("signal: %v", status.Signal())
		default:
			return fmt.Sprintf("exit status %d", status.ExitStatus())
		}
		select {
		case <-children:
		case <-ctx.Done():
			syscall.Kill(pid, s.Signal)
			ctx = context.Background() // once
		}
	}
}

// End waits until all programs have ended. From then on none is started. Call End when
// Serve's context is done, and before the process exits.
func (s *Service) End() { s.running.Lock() }
