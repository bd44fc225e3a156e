//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package asyncio

import (
	"crypto/rand"
	"io"
	"testing"
)

// A member of a chat: what its client sends goes to all the others. What is written to
// a member that does not read stays in memory; [Transport.Buffered] tells how much.
type member struct {
	*Transport
	all map[*member]bool // the members of the chat
}

func (m *member) ConnectionMade(transport *Transport) {
	m.Transport = transport
	m.Write([]byte("Welcome."))
	m.tell([]byte("hello\n"))
	m.all[m] = true
}

func (m *member) DataReceived(data []byte) { m.tell(data) }

func (m *member) ConnectionLost(error) {
	delete(m.all, m)
	m.tell([]byte("bye\n"))
}

func (m *member) tell(data []byte) {
	for other := range m.all {
		if other != m {
			other.Write(data)
		}
	}
}

// What any callback writes to another client arrives, also if that client reads late.
func TestChat(t *testing.T) {
	chat := map[*member]bool{}
	dial := serve(t, func() Protocol { return &member{all: chat} })
	first, second := dial(), dial()
	expect(t, first, "hello\n")
	for range 3 {
		io.WriteString(second, "Beautiful")
		expect(t, first, "Beautiful")
		io.WriteString(first, "Ugly")
		expect(t, second, "Ugly")
	}
	text := make([]byte, large)
	rand.Read(text)
	second.Write(text)
	io.WriteString(first, "I read late.") // is received when the text is sent
	expect(t, first, string(text))
	expect(t, second, "I read late.")
	second.Close()
	expect(t, first, "bye\n")
}
