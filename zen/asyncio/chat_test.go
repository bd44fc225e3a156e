//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package asyncio

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A chat passes what each client sends on to all the others.
type chat struct {
	members []*member
	joined  chan int // receives how many there are
}

type member struct {
	*Transport
	chat *chat
}

func (m *member) ConnectionMade(transport *Transport) {
	m.Transport = transport
	m.chat.members = append(m.chat.members, m)
	m.chat.tell(m, []byte("hello\n"))
	m.chat.joined <- len(m.chat.members)
}

func (m *member) DataReceived(data []byte) { m.chat.tell(m, data) }

// ConnectionLost keeps the member: to write to it is allowed, and does nothing.
func (m *member) ConnectionLost(error) { m.chat.tell(m, []byte("bye\n")) }

func (c *chat) tell(from *member, data []byte) {
	for _, m := range c.members {
		if m != from {
			m.Write(data)
		}
	}
}

// serveChat returns a function that lets a client join a new chat.
func serveChat(t *testing.T) (join func() client) {
	c := &chat{joined: make(chan int)}
	dial := serve(t, func() Protocol { return &member{chat: c} })
	return func() client {
		t.Helper()
		conn := dial()
		receive(t, c.joined)
		return conn
	}
}

// What a callback writes to another client arrives, whatever callback it is, and
// after that client has left it does nothing.
func TestWriteToAnother(t *testing.T) {
	join := serveChat(t)
	first := join()
	second := join()
	expect(t, first, "hello\n")
	for range 3 {
		io.WriteString(second, "Beautiful")
		expect(t, first, "Beautiful")
		io.WriteString(first, "Ugly")
		expect(t, second, "Ugly")
	}
	second.Close()
	expect(t, first, "bye\n")
	io.WriteString(first, "Is anybody there?")
	third := join() // may get the number of the second client's socket
	expect(t, first, "hello\n")
	io.WriteString(third, "Yes.")
	expect(t, first, "Yes.")
	io.WriteString(first, "Good.")
	expect(t, third, "Good.")
}

// What is written to a client that does not read waits behind what was written
// before, and arrives when the client reads.
func TestWriteToAnotherThatDoesNotRead(t *testing.T) {
	join := serveChat(t)
	reader := join()
	writer := join()
	expect(t, reader, "hello\n")
	var all strings.Builder
	for i := 0; all.Len() < large; i++ {
		fmt.Fprintf(&all, "line %d of what is more than all buffers take\n", i)
	}
	io.WriteString(writer, all.String())
	io.WriteString(reader, "I do not read.\n") // received when it has read
	expect(t, reader, all.String())
	expect(t, writer, "I do not read.\n")
}

// A client may be disconnected by the protocol of another. To do so again does
// nothing.
func TestCloseAnother(t *testing.T) {
	var victim *recorder
	reason := errors.New("on purpose")
	made := make(chan bool, 2)
	lost := make(chan error, 10)
	dial := serve(t, func() Protocol {
		r := &recorder{lost: lost, received: func(*recorder, []byte) { victim.CloseWithError(reason) }}
		if victim == nil {
			victim = r
		}
		r.made = func(*recorder) { made <- true }
		return r
	})
	var conns []client
	for range 2 {
		conns = append(conns, dial())
		receive(t, made)
	}
	io.WriteString(conns[1], "?")
	expectEnd(t, conns[0], "")
	if err := receive(t, lost); err != reason {
		t.Errorf("ConnectionLost(%v), want %v", err, reason)
	}
	io.WriteString(conns[1], "?")
	conns[1].Close()
	if err := receive(t, lost); err != io.EOF {
		t.Errorf("ConnectionLost(%v), want the end", err)
	}
}

// Each of 50 clients gets every line of every other client once, and in order.
func TestFiftyMembers(t *testing.T) {
	const members, lines = 50, 20
	join := serveChat(t)
	var conns []client
	for range members {
		conns = append(conns, join())
	}
	var all sync.WaitGroup
	for i, conn := range conns {
		all.Add(2)
		go func() {
			defer all.Done()
			for line := range lines {
				fmt.Fprintf(conn, "%d %d;", i, line)
			}
		}()
		go func() {
			defer all.Done()
			got := map[int][]int{}
			text := bufio.NewReader(conn)
			for n := 0; n < (members-1)*lines; n++ {
				line, err := text.ReadString(';')
				if err != nil {
					t.Errorf("client %d has %d lines: %v", i, n, err)
					return
				}
				var from, number int
				line = strings.ReplaceAll(line, "hello\n", "")
				if _, err := fmt.Sscanf(line, "%d %d;", &from, &number); err != nil {
					t.Errorf("client %d got %q: %v", i, line, err)
				}
				got[from] = append(got[from], number)
			}
			for from, numbers := range got {
				if from == i || len(numbers) != lines || !slices.IsSorted(numbers) {
					t.Errorf("client %d got lines %v of client %d", i, numbers, from)
				}
			}
		}()
	}
	all.Wait()
}
