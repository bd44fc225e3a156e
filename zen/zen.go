// Package zen holds the data and rules of the Zen-of-Python protocol
// (listing 7-1).
//
// A client asks, and every question ends at its first '?'. The server answers
// each in turn, and nothing but the '?' says where one ends: TCP carries a
// stream of bytes, so half a question may arrive alone, or a hundred at once.
//
// The rules live in [Conversation], which touches no socket. It is handed what
// has arrived and returns what is to be sent, so that a server that waits in Read
// and one that must never wait keep the same rules. No rule sets a time limit: a
// client that says nothing keeps its place as long as it likes.
//
// Below it stand the helpers of the servers that do wait: [Listener],
// [AcceptConnectionsForever], [HandleConversation].
package zen

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// MaxQuestion is the length in bytes, its '?' included, of the longest question
// a server will remember. Whoever sends a longer one is disconnected.
const MaxQuestion = 4096

// thinkingTime simulates an expensive operation: every answer takes that long.
// Raise it, rebuild a server, and see who waits.
const thinkingTime = 0 * time.Second

// LingerTime is how long a server that hangs up on a client that is still sending
// throws away what comes: time for the answers on their way to arrive.
const LingerTime = time.Second

// Aphorisms maps the questions that have an answer to their answers.
var Aphorisms = map[string]string{
	"Beautiful is better than?": "Ugly.",
	"Explicit is better than?":  "Implicit.",
	"Simple is better than?":    "Complex.",
}

var errTooLong = fmt.Errorf("question longer than %d bytes", MaxQuestion)

// Log lines stand alone: one event, one line, no date before it.
func init() { log.SetFlags(0) }

// Answer returns the answer to question, which ends with its '?'.
func Answer(question []byte) string {
	time.Sleep(thinkingTime)
	answer, known := Aphorisms[string(question)]
	if !known {
		return "Error: unknown aphorism."
	}
	return answer
}

// A Conversation is what a server must remember of one client between two
// reads: who it is, and the question that it has begun. It is used by one
// goroutine at a time.
type Conversation struct {
	address  net.Addr
	question []byte // the start of a question whose '?' has not arrived
}

// NewConversation begins the conversation with the client at address, and logs
// that it does.
func NewConversation(address net.Addr) *Conversation {
	log.Printf("Accepted connection from %v", address)
	return &Conversation{address: address}
}

// AppendAnswers takes data as it arrived, appends to dst the answer to every
// question that data completes, and returns the extended dst. It keeps neither
// slice: the start of a question at the end of data is copied. A question
// longer than [MaxQuestion] is an error; the answers to those before it are in
// dst, and once they are sent the conversation is over.
func (c *Conversation) AppendAnswers(dst, data []byte) ([]byte, error) {
	for len(data) > 0 {
		end := bytes.IndexByte(data, '?') + 1
		complete := end > 0
		if !complete {
			end = len(data)
		}
		if len(c.question)+end > MaxQuestion {
			return dst, errTooLong
		}
		question := data[:end]
		if !complete || len(c.question) > 0 {
			c.question = append(c.question, question...)
			question = c.question
		}
		if complete {
			dst = append(dst, Answer(question)...)
			c.question = c.question[:0]
		}
		data = data[end:]
	}
	return dst, nil
}

// Close logs how the conversation ended: err is io.EOF where the client closed its
// side, or else what kept the server from reading, answering or sending. The
// connection is the caller's to close, after this: a client that sees it closed
// can count on the line being in the log.
func (c *Conversation) Close(err error) {
	switch {
	case err != io.EOF:
		log.Printf("Client %v error: %v", c.address, cause(err))
	case len(c.question) > 0:
		log.Printf("Client %v error: received %.40q then socket closed", c.address, c.question)
	default:
		log.Printf("Client socket to %v has closed", c.address)
	}
}

// cause strips err of the addresses that package net puts before it: the log
// line has said them.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// ParseCommandLine reads a program's arguments, a host with -p PORT before or
// after it, and returns the address they name, as [net.Listen] and [net.Dial]
// want it. Flags of the program's own are to be defined before the call. Asked
// for help, it prints the usage with description and exits with status 0; on
// arguments that make no sense it says so and exits with status 2.
func ParseCommandLine(description string) (address string) {
	var port uint64 = 1060
	flag.Func("p", "TCP `port`, 0 to 65535 (default 1060)", func(text string) (err error) {
		if port, err = strconv.ParseUint(text, 10, 16); err != nil {
			err = errors.New("not a port")
		}
		return err
	})
	name := filepath.Base(os.Args[0])
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: %s [flags] host\n%s\n", name, description)
		fmt.Fprintln(flag.CommandLine.Output(), "  host\n    \tinterface of a server, '' for every one; server of a client, '' for this machine")
		flag.PrintDefaults()
	}
	// Package flag stops at the first argument that is no flag, so the host is
	// taken out and the parsing goes on behind it.
	var hosts []string
	for flag.Parse(); flag.NArg() > 0; flag.CommandLine.Parse(flag.Args()[1:]) {
		hosts = append(hosts, flag.Arg(0))
	}
	// One with a line break in it would make two lines of an error.
	if len(hosts) != 1 || strings.ContainsFunc(hosts[0], unicode.IsControl) {
		fmt.Fprintf(flag.CommandLine.Output(), "one host is wanted, not %q\n", hosts)
		flag.Usage()
		os.Exit(2)
	}
	return net.JoinHostPort(hosts[0], strconv.FormatUint(port, 10))
}

// A Listener is a listening TCP socket whose Accept outlasts a shortage.
type Listener struct{ *net.TCPListener }

// Listen returns a socket that listens at address; the caller owns it. Where
// that cannot be had it says why and exits with status 1: this is a helper of
// commands.
func Listen(address string) Listener {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("Listening at %v", listener.Addr())
	return Listener{listener.(*net.TCPListener)}
}

// Accept waits for the next client and returns its connection, the caller's to
// close. Where the system is out of descriptors it says so, waits and tries
// again: the client stays in the kernel's queue. Its only errors are
// [net.ErrClosed] and, behind a deadline, [os.ErrDeadlineExceeded].
func (l Listener) Accept() (net.Conn, error) {
	var backoff Backoff
	for {
		conn, err := l.TCPListener.Accept()
		if err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
			return conn, err
		}
		time.Sleep(backoff.Failed(err))
	}
}

// A Backoff is how long a listener that fails is left alone: 5 ms, and twice as
// long each time it fails again, up to a second. Set it to 0 when one succeeds.
type Backoff time.Duration

// Failed logs that accepting failed with err and returns how long to wait.
func (b *Backoff) Failed(err error) time.Duration {
	wait := min(max(2*time.Duration(*b), 5*time.Millisecond), time.Second)
	*b = Backoff(wait)
	if call := (*os.SyscallError)(nil); errors.As(err, &call) {
		err = call.Err // accept or accept4, it is the same to the reader of a log
	}
	log.Printf("Accept error: %v; retrying in %v", err, wait)
	return wait
}

// AcceptConnectionsForever takes one client after the other from listener, each
// when the conversation with the one before has ended. It returns the error of
// listener's Accept; the listener stays the caller's to close.
func AcceptConnectionsForever(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		HandleConversation(conn)
	}
}

// A Conn is what a conversation needs of a connection. A [net.Conn] has it, and
// so has any other stream whose Read and Write wait.
type Conn interface {
	io.ReadWriteCloser
	RemoteAddr() net.Addr
}

// HandleConversation talks with the client behind conn until one of the two has
// to hang up, and closes conn. It waits in Read for the client to ask, and in
// Write for the client to take its answers.
func HandleConversation(conn Conn) {
	defer conn.Close()
	conversation := NewConversation(conn.RemoteAddr())
	var (
		data    = make([]byte, 4096)
		answers []byte
		err     error
	)
	for err == nil {
		answers, err = handleRequest(conn, conversation, data, answers[:0])
	}
	conversation.Close(err)
	if tcp, ok := conn.(*net.TCPConn); ok && err == errTooLong {
		// To close with bytes unread is to reset the connection, and a reset
		// takes along the answers still on their way. So say that there will be
		// no more, and for a moment throw away what comes. (package poll lingers
		// by itself.)
		tcp.CloseWrite()
		tcp.SetReadDeadline(time.Now().Add(LingerTime))
		io.Copy(io.Discard, tcp)
	}
}

// handleRequest reads once into data, and answers whatever that completes with
// one write. It returns answers for the next call to write over, and why there
// should be none.
func handleRequest(conn Conn, conversation *Conversation, data, answers []byte) ([]byte, error) {
	n, err := conn.Read(data)
	answers, tooLong := conversation.AppendAnswers(answers, data[:n])
	if len(answers) > 0 {
		if _, err := conn.Write(answers); err != nil {
			return answers, err
		}
	}
	return answers, cmp.Or(tooLong, err)
}
