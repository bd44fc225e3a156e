package zentest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

const question, answer, unknown = "Simple is better than?", "Complex.", "Error: unknown aphorism."

// A client is a connection to the server under test. Each Read and Write has a
// deadline of its own. A client remembers what it has done, for a failure to tell.
type client struct {
	net.Conn
	tcp     *net.TCPConn
	t       testing.TB
	service *service
	name    string
	steps   []string
}

// connect returns a new client, which leaves at the end of the test.
func (s *service) connect(t testing.TB) *client {
	t.Helper()
	dialer := net.Dialer{Timeout: s.patience}
	dialer.SetMultipathTCP(false) // GODEBUG may turn it on, and it is slow
	conn, err := dialer.Dial("tcp", s.address)
	if err != nil {
		t.Fatalf("A client cannot connect: %v.\nEither the server has stopped listening, or its queue for clients that it has not accepted yet is too short (the argument of listen).", err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{Conn: conn, tcp: conn.(*net.TCPConn), t: t, service: s, name: "A client"}
}

func (c *client) Read(data []byte) (int, error) {
	c.SetReadDeadline(time.Now().Add(c.service.patience))
	return c.Conn.Read(data)
}

func (c *client) Write(data []byte) (int, error) {
	c.SetWriteDeadline(time.Now().Add(c.service.patience))
	return c.Conn.Write(data)
}

// did remembers a step.
func (c *client) did(format string, args ...any) {
	c.steps = append(c.steps, fmt.Sprintf(format, args...))
}

// fatalf ends the test with what the client did, and what went wrong.
func (c *client) fatalf(format string, args ...any) {
	c.t.Helper()
	var steps []string
	for i, times := 0, 1; i < len(c.steps); i, times = i+1, times+1 {
		switch {
		case i+1 < len(c.steps) && c.steps[i+1] == c.steps[i]:
			continue
		case times > 1:
			steps = append(steps, fmt.Sprintf("%s (%d times)", c.steps[i], times))
		default:
			steps = append(steps, c.steps[i])
		}
		times = 0
	}
	if n := len(steps) - 8; n > 0 {
		steps = append([]string{"…"}, steps[n:]...)
	}
	did := strings.Join(append([]string{"connected"}, steps...), ", ")
	c.t.Fatalf("%s %s.\n%s", c.name, did, fmt.Sprintf(format, args...))
}

// send sends data.
func (c *client) send(data string) {
	c.t.Helper()
	c.did("sent %s", quote(data))
	if n, err := io.WriteString(c, data); err != nil {
		c.fatalf("The system took %d bytes of the last%s.", n, c.then(err))
	}
}

// tryToSend sends data to a server that may have hung up.
func (c *client) tryToSend(data string) error {
	c.did("sent %s", quote(data))
	_, err := io.WriteString(c, data)
	return err
}

// expect reads want. It fails as soon as something else comes.
func (c *client) expect(want string) {
	c.t.Helper()
	got := make([]byte, 0, len(want))
	for len(got) < len(want) {
		n, err := c.Read(got[len(got):cap(got)])
		got = got[:len(got)+n]
		if !strings.HasPrefix(want, string(got)) || err != nil {
			c.fatalf("%s%s.", difference(want, string(got)), c.then(err))
		}
	}
	c.did("got %s", quote(want))
}

// expectLast reads want, and then the end.
func (c *client) expectLast(want string) {
	c.t.Helper()
	got, err := io.ReadAll(io.LimitReader(c, int64(len(want)+1000)))
	if string(got) != want || err != nil {
		c.fatalf("After all answers it expected the end. %s%s.", difference(want, string(got)), c.then(cmp.Or(err, io.EOF)))
	}
	c.did("got %s, then the end", quote(want))
}

// expectNothing watches for a while that the server neither sends nor hangs up.
func (c *client) expectNothing() {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(c.service.quiet))
	got := make([]byte, 100)
	n, err := c.Conn.Read(got)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		c.fatalf("It expected nothing yet and got %s%s.", quote(string(got[:n])), c.then(err))
	}
}

// ask sends a question, and reads the answer.
func (c *client) ask() {
	c.t.Helper()
	before := len(c.steps)
	c.send(question)
	c.expect(answer)
	c.steps = append(c.steps[:before], fmt.Sprintf("asked %q and got the answer", question))
}

// closeSide tells the server that the client sends no more.
func (c *client) closeSide() {
	c.tcp.CloseWrite()
	c.did("closed its side")
}

// reset ends the connection at once, and all that is on its way is lost.
func (c *client) reset() {
	c.tcp.SetLinger(0)
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
	c.expectLast("")
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
	if len(want) <= 60 && len(got) <= 60 || same == 0 {
		return fmt.Sprintf("It expected %s and got %s", quote(want), quote(got))
	}
	if same == len(got) {
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
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ", then the end"
	case os.IsTimeout(err):
		return fmt.Sprintf(", then nothing happened for %v", c.service.patience)
	}
	var operation *net.OpError
	if errors.As(err, &operation) {
		err = operation.Err
	}
	return fmt.Sprintf(", then an error: %v", err)
}
