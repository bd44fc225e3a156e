package zentest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const question, answer, unknown = "Simple is better than?", "Complex.", "Error: unknown aphorism."

// A client is a connection to the server under test. It remembers what it has done,
// for a failure to tell.
type client struct {
	*net.TCPConn
	t       testing.TB
	service *service
	name    string
	steps   []string
}

// connect returns a new client, which leaves at the end of the test.
func (s *service) connect(t testing.TB) *client { t.Helper(); return s.connectWith(t, net.Dialer{}) }

// slow makes a client with a small window and small segments. So a server soon waits to
// send, and its writes are partial.
var slow = net.Dialer{Control: smallWindow}

func (s *service) connectWith(t testing.TB, dialer net.Dialer) *client {
	t.Helper()
	c, err := s.tryToConnect(t, dialer)
	if err != nil {
		t.Fatalf("A client cannot connect: %v.\nEither the server has stopped listening, or its queue for clients that it has not accepted yet is too short (the argument of listen).", err)
	}
	return c
}

// connectMany returns n clients, or as many as the server serves at once. Each has asked a
// question and has the answer.
func (s *service) connectMany(t testing.TB, n int) (clients []*client) {
	t.Helper()
	n = s.some(n)
	for i := range n {
		c := s.connect(t)
		c.name = fmt.Sprintf("Client number %d of %d at the same time", i+1, n)
		c.ask()
		clients = append(clients, c)
	}
	return clients
}

func (s *service) tryToConnect(t testing.TB, dialer net.Dialer) (*client, error) {
	dialer.Timeout = cmp.Or(dialer.Timeout, s.patience())
	dialer.SetMultipathTCP(false) // GODEBUG may turn it on, and it is slow
	conn, err := dialer.Dial("tcp", s.address)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	return &client{TCPConn: conn.(*net.TCPConn), t: t, service: s, name: "A client"}, nil
}

// Read fails after the patience of the suite. So does Write.
func (c *client) Read(data []byte) (int, error) {
	c.SetReadDeadline(time.Now().Add(c.service.patience()))
	return c.TCPConn.Read(data)
}

func (c *client) Write(data []byte) (int, error) {
	c.SetWriteDeadline(time.Now().Add(c.service.patience()))
	return c.TCPConn.Write(data)
}

// did remembers a step, once if it is repeated.
func (c *client) did(format string, args ...any) {
	c.steps = slices.Compact(append(c.steps, fmt.Sprintf(format, args...)))
}

// story returns what the client did, and what went wrong.
func (c *client) story(problem string) string {
	steps := c.steps
	if n := len(steps) - 8; n > 0 {
		steps = append([]string{"…"}, steps[n:]...)
	}
	return fmt.Sprintf("%s %s.\n%s", c.name, strings.Join(append([]string{"connected"}, steps...), ", "), problem)
}

// fatalf ends the test with the story.
func (c *client) fatalf(format string, args ...any) {
	c.t.Helper()
	c.t.Fatal(c.story(fmt.Sprintf(format, args...)))
}

// send sends data. If the server has hung up, send returns an error, and what the client
// reads next tells more.
func (c *client) send(data string) error {
	c.did("sent %s", quote(data))
	_, err := io.WriteString(c, data)
	return err
}

// expect reads want. It fails as soon as something else comes.
func (c *client) expect(want string) {
	c.t.Helper()
	if problem := c.tryToExpect(want); problem != "" {
		c.fatalf("%s", problem)
	}
}

// tryToExpect reads want, and returns what went wrong, or "".
func (c *client) tryToExpect(want string) (problem string) {
	got := make([]byte, 0, len(want))
	for len(got) < len(want) {
		n, err := c.Read(got[len(got):cap(got)])
		got = got[:len(got)+n]
		if string(got[len(got)-n:]) != want[len(got)-n:len(got)] || err != nil {
			return difference(want, string(got)) + c.then(err) + "."
		}
	}
	if want != "" {
		c.did("got %s", quote(want))
	}
	return ""
}

// expectNothing waits until the server rests, and fails if it has sent something or
// hung up.
func (c *client) expectNothing() {
	c.t.Helper()
	c.service.rests()
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	got := make([]byte, 100)
	n, err := c.TCPConn.Read(got)
	if !os.IsTimeout(err) {
		c.fatalf("It expected nothing yet and got %s%s.", quote(string(got[:n])), c.then(err))
	}
}

// expectEnd waits for the end of the connection.
func (c *client) expectEnd() {
	c.t.Helper()
	if err := c.expectHangUp(); err != io.EOF {
		c.fatalf(`It expected the end and got ""%s.`, c.then(err))
	}
}

// expectHangUp waits for the end of the connection, or a reset, and returns its error.
func (c *client) expectHangUp() error {
	c.t.Helper()
	got := make([]byte, 100)
	n, err := c.Read(got)
	if n > 0 || os.IsTimeout(err) {
		c.fatalf("It expected the end and got %s%s.", quote(string(got[:n])), c.then(err))
	}
	return err
}

// ask sends a question, and reads the answer.
func (c *client) ask() {
	c.t.Helper()
	before := c.steps
	c.send(question)
	c.expect(answer)
	c.steps = before // one step in place of two
	c.did("asked %q and got the answer", question)
}

// burst asks many questions, and reads the answers meanwhile: they may be larger than
// the buffers.
func (c *client) burst(questions string) {
	c.t.Helper()
	c.did("sent %s", quote(questions))
	go io.WriteString(c, questions)
	c.expect(model(questions))
}

// closeSide tells the server that the client sends no more.
func (c *client) closeSide() {
	c.CloseWrite()
	c.did("closed its side")
}

// reset ends the connection at once, and all that is on its way is lost.
func (c *client) reset() {
	c.SetLinger(0)
	c.Close()
}

// serveOne is a client that asks one question and leaves. It returns when the
// server has closed the connection.
func (s *service) serveOne(t testing.TB) {
	t.Helper()
	c := s.connect(t)
	defer c.Close()
	c.name = "A client that came after the others"
	c.ask()
	c.closeSide()
	c.expectEnd()
}

// quote returns data in quotes, or the beginning of data and its length.
func quote(data string) string {
	if len(data) <= 60 {
		return fmt.Sprintf("%q", data)
	}
	return fmt.Sprintf("%q… (%d bytes)", data[:30], len(data))
}

// difference says where got is not want.
func difference(want, got string) string {
	same := 0
	for same < min(len(want), len(got)) && want[same] == got[same] {
		same++
	}
	switch {
	case len(want) <= 60 || same == 0:
		return fmt.Sprintf("It expected %s and got %s", quote(want), quote(got))
	case same == len(got):
		return fmt.Sprintf("It got the first %d of %d bytes", same, len(want))
	}
	return fmt.Sprintf("It got %d bytes of %d. The first %d are right, and then it expected %.30q and got %.30q",
		len(got), len(want), same, want[same:], got[same:])
}

// then says how a connection has ended.
func (c *client) then(err error) string {
	switch {
	case err == nil:
		return ""
	case err == io.EOF:
		return ", then the end"
	case os.IsTimeout(err):
		return nothingFor(c.service.patience())
	}
	return fmt.Sprintf(", then an error: %v", cmp.Or(errors.Unwrap(err), err)) // without the addresses
}
