package zentest

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"fopnp/chapter07/zen"
)

// hostileRules say what a client cannot do to the server, and to the others.
var hostileRules = []rule{{
	name:    "HangUp",
	promise: "When the server hangs up on a client that is still sending, the client gets the answers sent before. The server reads on for up to a second, then closes.",
	mend:    "closing a connection while more arrives resets it, and the answers on their way are lost. Linger: shut down the writing side, read and discard for up to a second in all, then close.",
	check: func(t *testing.T, server Server) {
		s := start(t, server)
		c := s.connect(t)
		c.send(tooLong)
		c.expectHangUp()
		hungUp := time.Now()
		s.serveOne(t) // while the server waits for c to close, or after that
		for ; c.send("y") == nil; time.Sleep(10 * time.Millisecond) {
			if passed := time.Since(hungUp); passed > max(long, s.patience()) {
				c.fatalf("The server has hung up, and still takes what the client sends after %v.", passed)
			}
		}
		for right, tries := 0, 0; right < 5; tries++ {
			switch problem, late := s.readLate(t); {
			case late && tries >= 30:
				t.Skipf("SKIPPED: this machine is too busy to read within the second for which a server lingers. %s", problem)
			case late: // try again
			case problem != "":
				t.Fatal(problem)
			default:
				right++
			}
		}
	},
}, {
	name:    "NeverReads",
	promise: "The server stops reading from a client that does not read its answers. If the client reads slowly, it gets every answer.",
	mend:    "read nothing more from a client until its answers are sent. A write that blocks does that; an event loop waits for room to write, and not for data. Do not queue answers without a limit. A write may take a part of the data only: keep exactly the rest.",
	check: func(t *testing.T, server Server) {
		s := start(t, server)
		f := &flooder{client: s.connectWith(t, slow)}
		fill := func() {
			if problem := f.tryToFill(); problem != "" {
				f.fatalf("%s", problem)
			}
		}
		fill()
		f.did("asked until the server read no more")
		if several(server) {
			other := s.connect(t)
			other.name = "Beside one that does not read, another client"
			for range 100 {
				other.ask()
			}
			// Many answers to the other client must not overwrite those that wait.
			other.burst(strings.Repeat("?Beautiful is better than?", 1000))
		}
		for range 10 {
			f.drain(min(30<<10, answered(f.asked)-f.read))
			fill()
		}
		f.closeSide()
		f.SetReadBuffer(256 << 10)
		f.drain(answered(f.asked) - f.read)
		f.expectEnd()
		f.Close()
		s.serveOne(t)
	},
}, {
	name:    "Flood",
	promise: "The others get answers while one client floods the server.",
	mend:    "after one read from a client, give the others a turn.",
	applies: several,
	check: func(t *testing.T, server Server) {
		s := start(t, server)
		f, other := &flooder{client: s.connect(t)}, s.connect(t)
		f.name = "A client that asks and reads without a pause"
		other.name = "Beside one that floods the server, a client"
		go f.flood()
		for range 25 {
			f.drain(100_000)
			other.ask()
		}
		f.Close()
		other.ask()
	},
}}

var tooLong = strings.Repeat("x", zen.MaxQuestion+1)

// readLate is a client that sends on when the server has hung up, and reads its answers
// late. It returns what went wrong. late means that all took more than half of the second
// for which a server lingers, as on a busy machine: then problem proves nothing. But if it
// took as long as a client waits, that is the server's fault.
func (s *service) readLate(t testing.TB) (problem string, late bool) {
	const asked = 2000 // 48 KB of answers fit into the buffers of all but the smallest systems
	began := time.Now()
	c := s.connect(t)
	defer c.Close()
	c.SetReadBuffer(4 << 10) // so that most of them wait on the server's side
	if err := c.send(strings.Repeat("?", asked) + tooLong + tooLong); os.IsTimeout(err) {
		t.Skipf("SKIPPED: the answers to %d questions do not fit into the buffers of this system", asked)
	}
	s.restsWithin(time.Second / 4)
	for range 3 { // a server that has closed replies to the first with a reset
		c.send("y")
	}
	c.SetReadBuffer(256 << 10)
	c.steps = []string{fmt.Sprintf("asked %d questions at once, sent 8 KB of one that is too long, waited, sent more, and then read its answers", asked)}
	if problem = c.tryToExpect(strings.Repeat(unknown, asked)); problem != "" {
		problem = c.story(problem)
	} else if err := c.send("y"); err != nil {
		problem = c.story("The server has not waited until the client closed, or for a second" + c.then(err) + ".")
	}
	passed := time.Since(began)
	if late = passed > time.Second/2 && passed < s.patience(); problem != "" || late {
		return problem, late
	}
	read := time.Now()
	c.SetReadDeadline(read.Add(time.Second / 2)) // the end comes right after the answers
	if _, err := c.TCPConn.Read(make([]byte, 1)); err != io.EOF {
		problem = c.story("It expected the end when it had read its answers. The server has not shut down its writing side.")
	}
	return problem, time.Since(read) > 3*time.Second/4
}

// ways are the states in which a client may leave.
var ways = []struct {
	name  string
	reach func(c *client)
}{
	{"at once", func(*client) {}},
	{"in the middle of a question", func(c *client) { c.send("Simple is") }},
	{"after an answer", (*client).ask},
	{"after an answer, in the middle of a question", func(c *client) { c.ask(); c.send("Simple is") }},
	{"with answers unread", func(c *client) { c.ask(); c.send(strings.Repeat(question, 1000)) }},
	{"while the server waits to send", func(c *client) { (&flooder{client: c}).push() }},
	{"when half-closed", func(c *client) { c.send(question); c.closeSide() }},
	{"after too long a question", func(c *client) { c.send(tooLong) }},
}

// A client that floods sends these questions again and again. Three of them have 47
// bytes, and their answers 41. These are primes, so that nothing is in step with a buffer.
var (
	floodQuestions = strings.Repeat("Simple is better than?Explicit is better than??", 1000)
	floodAnswers   = model(floodQuestions)
)

// A flooder asks, and reads none or some of the answers.
type flooder struct {
	*client
	asked int // bytes of questions
	read  int // bytes of answers
}

// answered returns the length of the answers to the first asked bytes of questions.
func answered(asked int) int {
	whole, part := asked/len(floodQuestions), asked%len(floodQuestions)
	return whole*len(floodAnswers) + len(model(floodQuestions[:part]))
}

// push asks until there is no room for 20 ms, or 4 MB are sent. It reports whether there
// was no room.
func (f *flooder) push() (stuck bool) {
	f.t.Helper()
	f.SetReadBuffer(4 << 10)
	f.SetWriteBuffer(16 << 10)
	for end := f.asked + 4<<20; f.asked < end; {
		f.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		n, err := io.WriteString(f.TCPConn, floodQuestions[f.asked%len(floodQuestions):])
		f.asked += n
		if err != nil && !os.IsTimeout(err) {
			f.fatalf("It asked %d KB of questions and read %d KB of answers. It expected the server to stop reading, and got an error: %v.", f.asked>>10, f.read>>10, err)
		}
		if n == 0 {
			return true
		}
	}
	return false
}

// tryToFill asks until the server has stopped reading: it rests, and has not read all that
// has reached it. It returns what is wrong if the server keeps more than 8 MiB of answers:
// those to one read are 96 KB.
func (f *flooder) tryToFill() (problem string) {
	f.t.Helper()
	for taken, progress := 0, time.Now(); ; { // bytes that the server has taken, and when it took the last
		rests := f.push() && f.service.restsWithin(time.Second)
		clientUnsent, clientUnread, known := queues(f.LocalAddr(), f.RemoteAddr())
		serverUnsent, serverUnread, _ := queues(f.RemoteAddr(), f.LocalAddr())
		if now := max(0, f.asked-clientUnsent-serverUnread); now != taken {
			taken, progress = now, time.Now()
		}
		keeps := answered(taken) - f.read - serverUnsent - clientUnread
		limit := 8 << 20
		if !known {
			limit = 192 << 20 // what is in queues of the system counts too
		}
		switch {
		case keeps > limit:
			return fmt.Sprintf("It asked %d KB of questions and read %d KB of answers. The server should stop reading, and keeps %d MiB of answers, or their questions.", f.asked>>10, f.read>>10, keeps>>20)
		case rests && (serverUnread > 0 || !known):
			return ""
		case time.Since(progress) > f.service.patience(): // its queue is empty: TCP holds back the rest
			f.service.mustRest(f.t, "beside one that does not read")
			return ""
		}
	}
}

// drain reads the next bytes of answers.
func (f *flooder) drain(bytes int) {
	f.t.Helper()
	from := f.read % len(floodAnswers)
	f.expect(strings.Repeat(floodAnswers, 1+(from+bytes)/len(floodAnswers))[from : from+bytes])
	f.read += bytes
}

// flood asks until the connection ends.
func (c *client) flood() {
	c.SetWriteDeadline(time.Time{})
	for err := error(nil); err == nil; {
		_, err = io.WriteString(c.TCPConn, floodQuestions)
	}
}
