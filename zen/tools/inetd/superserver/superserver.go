//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

// Package superserver does what inetd does with one line of its inetd.conf. Under
// "nowait" it accepts each client, and starts a program for it. Under "wait" it only
// finds out that a client is there: the program accepts. It logs each client that it
// accepts, and each program that starts or ends.
package superserver

import (
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/poll"
)

// Serve has a function for each mode, "nowait" and "wait". It serves the clients of
// listener, and calls command for each program that it starts. It returns an error when
// the socket does not listen any more, because somebody who shares it has shut it down or,
// under nowait, closed it. Programs that run go on.
var Serve = map[string]func(listener zen.Listener, command func() *exec.Cmd) error{
	"nowait": nowait, "wait": wait,
}

// nowait starts a program for each client, one after the other. Until its turn comes a
// client waits in the system's queue, where it takes no descriptor.
func nowait(listener zen.Listener, command func() *exec.Cmd) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		log.Printf("Accepted connection from %v", conn.RemoteAddr())
		pid := start(conn.(*net.TCPConn), command)
		conn.Close() // the program has a copy
		go await(pid)
	}
}

// wait starts a program when a client is in the queue, and waits until that program has
// ended. If it has accepted no client, it is started again.
func wait(listener zen.Listener, command func() *exec.Cmd) error {
	poller, err := poll.New(listener)
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
		log.Printf("A client is in the queue at %v", listener.Addr())
		next := time.After(pause)
		await(start(listener, command))
		<-next
	}
}

// pause is the time between two tries to start a program and, under wait, at least
// between two starts.
const pause = time.Second

// start starts a program with socket, which is a client's connection or listens, as its
// descriptors 0, 1 and 2. If the program cannot be started, start logs why and tries again.
func start(socket interface{ File() (*os.File, error) }, command func() *exec.Cmd) (pid int) {
	for ; ; time.Sleep(pause) {
		program := command()
		file, err := socket.File()
		if err == nil {
			program.Stdin, program.Stdout, program.Stderr = file, file, file
			err = program.Start() // makes the socket blocking, as a program expects
			file.Close()
		}
		if err == nil {
			pid = program.Process.Pid
			program.Process.Release() // in place of Wait: see await
			log.Printf("Started %s as process %d", program.Args[0], pid)
			return pid
		}
		log.Printf("Start error: %v; retrying in %v", err, pause)
	}
}

// await waits until a process has ended, and logs how. The Wait of os/exec blocks a
// thread for each process. So await asks without blocking, each time SIGCHLD says that
// some child has ended. Until then the process is a zombie.
func await(pid int) {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	defer signal.Stop(children)
	var status syscall.WaitStatus
	for {
		if ended, _ := syscall.Wait4(pid, &status, syscall.WNOHANG, nil); ended == pid {
			break
		}
		<-children
	}
	how := fmt.Sprintf("exit status %d", status.ExitStatus())
	if status.Signaled() {
		how = fmt.Sprintf("signal: %v", status.Signal())
	}
	log.Printf("Ended process %d: %s", pid, how)
}
