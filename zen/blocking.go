package zen

import (
	"cmp"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"time"

	"fopnp/chapter07/zen/system"
)

// A Listener is a TCP listener whose Accept tries again if that can help, as when
// the system is out of descriptors.
type Listener struct {
	*net.TCPListener
	Timeout time.Duration // how long Accept waits for a client; 0 means forever

	restore func() // undoes what this process has changed about a socket of inetd, or nil
}

// Listen returns a Listener at address, for the caller to close. If that fails
// it logs the reason and exits with status 1: Listen is a helper for commands.
func Listen(address string) Listener {
	if system.Missing != nil {
		log.Fatal(system.Missing)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("Listening at %v", listener.Addr())
	return Listener{TCPListener: listener.(*net.TCPListener)}
}

// Accept returns the connection of the next client, for the caller to close. If
// the system is out of descriptors or memory, Accept logs that, waits 5 ms and
// tries again; it doubles the wait each time, up to a second.
//
// If no client comes for Timeout, Accept returns an error that wraps
// [os.ErrDeadlineExceeded]. It returns another error only if the listening socket
// is closed or does not listen.
func (l Listener) Accept() (net.Conn, error) {
	for wait := 5 * time.Millisecond; ; {
		if l.Timeout > 0 {
			l.SetDeadline(time.Now().Add(l.Timeout))
		}
		conn, err := l.TCPListener.Accept()
		switch {
		case err == nil:
			return conn, nil
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed), system.OfListener(err):
			if l.restore != nil {
				l.restore()
			}
			return nil, err
		case system.OfConnection(err):
			continue
		}
		var call *os.SyscallError
		if errors.As(err, &call) {
			err = call.Err
		}
		log.Printf("Accept error: %v; retrying in %v", err, wait)
		time.Sleep(wait)
		wait = min(2*wait, time.Second)
	}
}

// AcceptConnectionsForever accepts clients from listener and converses with one
// after the other. It returns the error of listener's Accept. The caller still
// owns listener.
func AcceptConnectionsForever(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		HandleConversation(conn)
	}
}

// A Conn is what [HandleConversation] needs of a connection: a [net.Conn], or any
// other stream whose Read waits until there is something to read.
type Conn interface {
	io.ReadWriteCloser
	RemoteAddr() net.Addr
}

// HandleConversation answers the client at the other end of conn until the
// client leaves, an error occurs or a question is too long. Then it closes conn.
func HandleConversation(conn Conn) {
	conversation := NewConversation(conn.RemoteAddr())
	data := make([]byte, MaxQuestion)
	var err error
	for err == nil {
		err = handleRequest(conn, conversation, data)
	}
	conversation.End(err)
	hangUp(conn)
}

// answerBuffers holds buffers for answers. A conversation takes one for each read,
// so a client that asks much and then is silent does not keep a large one.
var answerBuffers = sync.Pool{New: func() any { return new([]byte) }}

// handleRequest reads once into data, and writes the answers to what it has read.
func handleRequest(conn Conn, conversation *Conversation, data []byte) error {
	n, readErr := conn.Read(data)
	buffer := answerBuffers.Get().(*[]byte)
	answers, tooLong := conversation.AppendAnswers((*buffer)[:0], data[:n])
	var writeErr error
	if len(answers) > 0 {
		_, writeErr = conn.Write(answers)
	}
	*buffer = answers
	answerBuffers.Put(buffer)
	return cmp.Or(writeErr, tooLong, readErr)
}

// lingerTime is how long a server discards what a client sends after the server
// has hung up.
const lingerTime = time.Second

// hangUp closes conn. If the client is still sending, closing at once would
// reset the connection, and the client would lose answers that it has not read
// yet. So hangUp first tells the client that no more answers follow, and
// discards what arrives until the client closes too, for lingerTime at most.
func hangUp(conn Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.CloseWrite()
		tcp.SetReadDeadline(time.Now().Add(lingerTime))
		io.Copy(io.Discard, tcp)
	}
	conn.Close()
}
