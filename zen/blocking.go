package zen

import (
	"cmp"
	"io"
	"net"
	"sync"
	"time"
)

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
// AppendAnswers(nil, …) would work too, and needs more memory.
var answerBuffers = sync.Pool{New: func() any { return new([]byte) }}

// handleRequest reads once into data, and writes the answers to what it has read:
// to one question most often, but also to none or to hundreds.
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
	return cmp.Or(writeErr, tooLong, readErr) // the first that is not nil
}

// lingerTime is how long a server discards what a client sends after the server
// has hung up.
const lingerTime = time.Second

// hangUp closes conn. If the client is still sending, closing at once would
// reset the connection, and the client would lose answers that it has not read
// yet. So hangUp first tells the client that no more answers follow, and
// discards what arrives until the client closes too. The caller waits for that, for
// lingerTime at most.
func hangUp(conn Conn) {
	// A stream of srv_asyncio2 is no TCPConn: its Close makes the loop hang up, and
	// package poll discards what arrives.
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.CloseWrite()
		tcp.SetReadDeadline(time.Now().Add(lingerTime))
		io.Copy(io.Discard, tcp)
	}
	conn.Close()
}
