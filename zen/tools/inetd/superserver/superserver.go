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
	Command  func() *exec.Cmd // returns a new command for each start
	Pause    time.Duration    // the time between two tries to start and, under wait, at least between two starts

	starting sync.Mutex // held while a program starts, and from End on
	running  sync.WaitGroup
}

// Serve serves clients, and logs who listens, is accepted, starts and ends. It returns
// an error when the socket does not listen any more, because somebody who shares it has
// shut it down or, under nowait, closed it. Programs that run go on, until ctx is done:
// then each is killed.
func (s *Service) Serve(ctx context.Context) error {
	if s.Wait {
		return s.serveWait(ctx)
	}
	log.Printf("Listening at %v for %s (nowait)", s.Listener.Addr(), s.Command().Args[0])
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			return err
		}
		log.Printf("Accepted connection from %v", conn.RemoteAddr())
		go func() { // the next client does not wait for a program that cannot be started
			pid := s.start(conn.(*net.TCPConn))
			conn.Close() // the program still has it
			s.await(ctx, pid)
		}()
	}
}

// serveWait starts a program when a client is in the queue, and waits until that program
// has ended. If it has accepted no client, it is started again.
func (s *Service) serveWait(ctx context.Context) error {
	log.Printf("Listening at %v for %s (wait)", s.Listener.Addr(), s.Command().Args[0])
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
		log.Printf("A client is in the queue at %v", s.Listener.Addr())
		next := time.After(s.Pause)
		s.await(ctx, s.start(s.Listener))
		<-next
	}
}

// A socket is a client's connection, or the listening socket.
type socket interface{ File() (*os.File, error) }

// start starts a program, and returns its process number. If that fails, start logs why,
// and tries again.
func (s *Service) start(socket socket) (pid int) {
	pid, err := s.tryStart(socket)
	for ; err != nil; pid, err = s.tryStart(socket) {
		log.Printf("Start error: %v; retrying in %v", err, s.Pause)
		time.Sleep(s.Pause)
	}
	return pid
}

// tryStart starts a program with socket as its descriptors 0, 1 and 2.
func (s *Service) tryStart(socket socket) (pid int, err error) {
	s.starting.Lock()
	defer s.starting.Unlock()
	file, err := socket.File()
	if err != nil {
		return 0, err
	}
	defer file.Close()
	command := s.Command()
	command.Stdin, command.Stdout, command.Stderr = file, file, file
	if err := command.Start(); err != nil { // makes the socket blocking, as a program expects
		return 0, err
	}
	s.running.Add(1)
	pid = command.Process.Pid
	log.Printf("Started %s as process %d", command.Args[0], pid)
	return pid, command.Process.Release() // in place of command.Wait: see await
}

// await waits until a process has ended, and kills it when ctx is done. Until somebody
// asks how it has ended, it remains as a zombie. os/exec asks with a system call that
// waits, which takes a thread for each process. await asks each time that the system
// says that some process has ended.
func (s *Service) await(ctx context.Context, pid int) {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	defer signal.Stop(children)
	var status syscall.WaitStatus
	for end := ctx.Done(); ; {
		if ended, _ := syscall.Wait4(pid, &status, syscall.WNOHANG, nil); ended == pid {
			break
		}
		select {
		case <-children:
		case <-end:
			syscall.Kill(pid, syscall.SIGKILL)
			end = nil
		}
	}
	how := fmt.Sprintf("exit status %d", status.ExitStatus())
	if status.Signaled() {
		how = fmt.Sprintf("signal: %v", status.Signal())
	}
	log.Printf("Ended process %d: %s", pid, how)
	s.running.Done()
}

// End waits until all programs have ended. From then on none is started. Call End when
// Serve's context is done, and before the process exits.
func (s *Service) End() {
	s.starting.Lock()
	s.running.Wait()
}
