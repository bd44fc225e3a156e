// Package zen holds the data and rules of the Zen-of-Python protocol
// (listing 7-1), and helpers that the book's programs share.
//
// A client sends questions, and each question ends with '?'. The server answers
// them in order, and each answer ends with '.'. TCP is a stream of bytes: one read may
// return half a question or a hundred questions.
//
// The rules do not touch a socket: a server passes what it has received to
// [Conversation.AppendAnswers], and sends what that returns. So a server that blocks
// in Read and an event loop, which waits for all clients in one place, follow the same
// rules. [HandleConversation] is a whole conversation, for servers in which each
// client has a stack to itself.
package zen

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"syscall"
	"time"
)

// MaxQuestion is the length in bytes of the longest question that a server
// accepts, including its '?'. A server disconnects a client that sends a longer one.
const MaxQuestion = 4096

// ThinkingTime is how long a server thinks about each question, and how long a
// client thinks before it asks one. The flag -think sets it: -think 1s makes it easy
// to see which clients wait.
var ThinkingTime time.Duration

// Aphorisms maps each known question to its answer.
var Aphorisms = map[string]string{
	"Beautiful is better than?": "Ugly.",
	"Explicit is better than?":  "Implicit.",
	"Simple is better than?":    "Complex.",
}

// Answer returns the answer to question, which includes its '?'. It first sleeps for
// ThinkingTime, in place of a slow computation. In an event loop all clients wait for
// that.
func Answer(question []byte) string {
	time.Sleep(ThinkingTime)
	return cmp.Or(Aphorisms[string(question)], "Error: unknown aphorism.") // the first that is not ""
}

// A Conversation is what a server remembers of one client between two reads: its
// address, and the part of a question that has arrived. It must not be used by two
// goroutines at once.
type Conversation struct {
	address  net.Addr
	question []byte // the start of a question whose '?' has not arrived, or nil
}

// NewConversation starts the conversation with the client at address, and logs
// that the client is connected.
func NewConversation(address net.Addr) *Conversation {
	log.Printf("Accepted connection from %v", address)
	return &Conversation{address: address}
}

// AppendAnswers answers every question that data completes. It appends the
// answers to dst and returns the extended slice. If data ends in the middle of
// a question, the Conversation keeps a copy of that part.
//
// The only error is a question longer than [MaxQuestion]. The server then sends
// the answers in dst and disconnects the client.
func (c *Conversation) AppendAnswers(dst, data []byte) ([]byte, error) {
	for {
		end := bytes.IndexByte(data, '?') + 1
		if end == 0 {
			break
		}
		question := data[:end]
		if c.question != nil {
			question = append(c.question, question...)
			c.question = nil
		}
		if len(question) > MaxQuestion {
			return dst, errTooLong
		}
		dst = append(dst, Answer(question)...)
		data = data[end:]
	}
	if len(c.question)+len(data) > MaxQuestion {
		return dst, errTooLong
	}
	c.question = append(c.question, data...) // still nil if no data is left
	return dst, nil
}

var errTooLong = fmt.Errorf("question longer than %d bytes", MaxQuestion)

// End logs how the conversation ended. The error is io.EOF if the client closed
// its side, and otherwise what went wrong. Call End before you close the
// connection, so that the line is in the log before the client sees the end.
func (c *Conversation) End(err error) {
	switch {
	case err != io.EOF:
		log.Printf("Client %v error: %v", c.address, cause(err))
	case c.question != nil:
		log.Printf("Client %v error: received %.40q then socket closed", c.address, c.question)
	default:
		log.Printf("Client socket to %v has closed", c.address)
	}
}

// cause returns err without the addresses that package net adds to it: the log
// line already has the client's.
func cause(err error) error {
	if errors.Is(err, syscall.EPROTOTYPE) { // macOS: a reset has arrived during a write
		return os.NewSyscallError("write", syscall.ECONNRESET)
	}
	var operation *net.OpError
	if errors.As(err, &operation) {
		return operation.Err
	}
	return err
}
