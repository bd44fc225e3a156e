// Package superserver does what inetd does with a listening socket. Under "nowait"
// it accepts each client, and starts a program for it. Under "wait" it only finds
// out that a client is there: the program accepts.
package superserver

import (
	"net"
	"os"
	"os/exec"

	"fopnp/chapter07/zen/poll"
)

// A Socket is what a program is started with: under "nowait" a *[net.TCPConn], and
// under "wait" the listener itself.
type Socket interface {
	File() (*os.File, error) // a copy, for the caller to close
}

// A Listener is a *[net.TCPListener], or embeds one.
type Listener interface {
	net.Listener
	Socket
}

// A Starter starts a program with socket, as [Start] does, and returns a channel
// that is closed when the program has ended. The Starter may use socket until it
// returns. An error ends the superserver, so a Starter that wants to try again
// does so itself.
type Starter func(socket Socket) (ended <-chan struct{}, err error)

// Nowait accepts clients from listener, calls start for each one, and closes the
// connection, which the program still has. It does not wait for the program.
// Nowait returns the error of listener's Accept or of start. The caller still owns
// listener.
func Nowait(listener Listener, start Starter) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		_, err = start(conn.(*net.TCPConn))
		conn.Close()
		if err != nil {
			return err
		}
	}
}

// Wait waits until a client is in the queue of listener, calls start, and does
// nothing more until that program has ended. If a client is then in the queue, as
// when the program has accepted none, Wait calls start again at once. Wait returns
// the error of start or of package poll. The caller still owns listener; closing it
// does not end Wait.
func Wait(listener Listener, start Starter) error {
	poller, err := poll.New(listener)
	if err != nil {
		return err
	}
	for range poller.Events() { // a client is in the queue
		ended, err := start(listener)
		if err != nil {
			return err
		}
		<-ended
	}
	return poller.Err()
}

// Start starts command with socket as its descriptors 0, 1 and 2. The descriptors
// block, as a program expects, even if the program before has changed that.
func Start(command *exec.Cmd, socket Socket) error {
	file, err := socket.File()
	if err != nil {
		return err
	}
	defer file.Close()
	command.Stdin, command.Stdout, command.Stderr = file, file, file
	return command.Start() // makes the socket blocking
}
