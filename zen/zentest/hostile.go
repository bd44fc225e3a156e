package zentest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"fopnp/chapter07/zen"
)

var hangUp = rule{
	name:    "HangUp",
	promise: "When the server hangs up on a client that is still sending, the client gets the answers sent before. The server listens to it for about a second more.",
	mend:    "to close a connection at which more arrives is to reset it, and the answers on their way are lost. Linger: shut down the writing side, read and discard for up to a second, then close.",
	check: func(t *testing.T, server Server) {
		s := start(t, server, options{})
		for range 5 {
			tryAgain(t, func(time.Duration) (string, bool) { return s.readLate(t) })
		}
		tryAgain(t, func(time.Duration) (string, bool) { return s.sendOn(t) })
		s.serveOne(t) // the client before has not closed yet
		c := s.connect(t)
		c.tryToSend(tooLong)
		c.expectHangUp()
		for hungUp := time.Now(); c.tryToSend("y") == nil; time.Sleep(10 * time.Millisecond) {
			if passed := time.Since(hungUp); passed > max(long, s.patience) {
				c.fatalf("The server has hung up, and still takes what the client sends after %v.", passed)
			}
		}
	},
}

var tooLong = strings.Repeat("x", zen.MaxQuestion+1)

// tryAgain fails with the problem that try returns. If the suite was late, which it is
// on a busy machine, tryAgain tries again with a longer step.
func tryAgain(t testing.TB, try func(step time.Duration) (problem string, late bool)) {
	t.Helper()
	for step := 100 * time.Millisecond; ; step *= 2 {
		switch problem, late := try(step); {
		case problem == "":
			return
		case !late || step > 3*time.Second:
			t.Fatal(problem)
		}
	}
}

// A server lingers for a second. If the suite has taken more than a half of that, it
// was late; if it has waited for as long as it waits, that is the server's fault.
func (s *service) late(began time.Time) bool {
	passed := time.Since(began)
	return passed > time.Second/2 && passed < s.patience
}

// readLate returns what goes wrong for a client that reads its answers when the
// server has hung up.
func (s *service) readLate(t testing.TB) (problem string, late bool) {
	const asked = 2000 // 48 KB of answers fit into the buffers, but of the smallest systems
	began := time.Now()
	c := s.connect(t)
	defer c.Close()
	c.SetReadBuffer(4 << 10) // so that most of them wait on the server's side
	if err := c.tryToSend(strings.Repeat("?", asked) + tooLong + tooLong); os.IsTimeout(err) {
		t.Skipf("SKIPPED: the answers to %d questions do not fit into the buffers of this system", asked)
	}
	s.restsWithin(t, time.Second/2)
	for range 3 {
		c.tryToSend("y")
	}
	c.SetReadBuffer(256 << 10)
	c.steps = []string{"asked 2000 questions at once, sent 8 KB of one that is too long, waited, sent more, and then read its answers"}
	if problem := c.tryToExpect(strings.Repeat(unknown, asked)); problem != "" {
		return c.story(problem), s.late(began)
	}
	return "", false
}

// sendOn returns what goes wrong for a client that sends on when the server has hung
// up.
func (s *service) sendOn(t testing.TB) (problem string, late bool) {
	began := time.Now()
	c := s.connect(t)
	c.tryToSend(tooLong)
	c.expectLast("")
	for range 3 { // the server's reply to one may be a reset
		if err := c.tryToSend("y"); err != nil {
			return c.story("The server has not waited until the client closed, or for a second" + c.then(err) + "."), s.late(began)
		}
		s.restsWithin(t, time.Second/4)
	}
	return "", false
}

var resets = rule{
	name:    "Reset",
	promise: "A reset ends one client, and never the server.",
	mend:    "every read and every write may return an error (connection reset, broken pipe): close that client and go on.",
	check: func(t *testing.T, server Server) {
		s := start(t, server, options{})
		for range 3 {
			for _, leave := range ways {
				c := s.connect(t)
				leave.reach(c)
				c.reset()
				next := s.connect(t)
				next.name = "After a client that sent a reset " + leave.name + ", another client"
				next.ask()
				next.Close()
			}
		}
	},
}

// ways are the states in which a client may leave.
var ways = []struct {
	name  string
	reach func(c *client)
}{
	{"at once", func(*client) {}},
	{"in the middle of a question", func(c *client) { c.send("Simple is") }},
	{"after an answer", func(c *client) { c.ask() }},
	{"after an answer, in the middle of a question", func(c *client) { c.ask(); c.send("Simple is") }},
	{"with answers unread", func(c *client) { c.ask(); c.send(strings.Repeat(question, 1000)) }},
	{"while the server waits to send", (*client).press},
	{"half-closed", func(c *client) { c.send(question); c.closeSide() }},
	{"after too long a question", func(c *client) { c.tryToSend(tooLong) }},
}

// A client that floods sends these questions again and again. Their lengths differ,
// and those of the answers, so that nothing is in step with a buffer.
var (
	floodQuestions = func() string {
		var questions strings.Builder
		for i := range 1000 {
			questions.WriteString(strings.Repeat("x", i*37%60) + "?")
			questions.WriteString([]string{"Simple is better than?", "Explicit is better than?", "?"}[i%3])
		}
		return questions.String()
	}()
	floodAnswers = model(floodQuestions)
)

// answersTo returns the length of the answers to so many bytes of them.
func answersTo(asked int) int {
	whole, part := asked/len(floodQuestions), asked%len(floodQuestions)
	return whole*len(floodAnswers) + len(model(floodQuestions[:part]))
}

// A flooder asks, and reads none or some of the answers.
type flooder struct {
	*client
	asked int // bytes of questions
	read  int // bytes of answers
}

// press is a client that floods, until the server waits to send: the system takes
// nothing, also after a while. Eight tries are enough for a server that never waits.
func (c *client) press() {
	f := &flooder{client: c}
	for range 8 {
		before := f.asked
		if f.press(); f.asked == before {
			return
		}
		c.service.restsWithin(c.t, time.Second/5)
	}
}

// press asks until the system takes no more for a moment, or 4 MB more. It reports
// whether the system took nothing.
func (f *flooder) press() (stuck bool) {
	f.t.Helper()
	f.SetReadBuffer(4 << 10)
	f.SetWriteBuffer(16 << 10)
	for end := f.asked + 4<<20; f.asked < end; {
		f.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		n, err := io.WriteString(f.TCPConn, floodQuestions[f.asked%len(floodQuestions):])
		f.asked += n
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			f.fatalf("It asked %d KB of questions and read %d KB of answers. It expected the server to stop reading, and got an error: %v.", f.asked>>10, f.read>>10, err)
		}
		if n == 0 {
			return true
		}
	}
	return false
}

// fill asks until the server has stopped reading.
func (f *flooder) fill() {
	f.t.Helper()
	if problem := f.tryToFill(); problem != "" {
		f.fatalf("%s", problem)
	}
}

// tryToFill asks until the server has stopped reading. It returns what is wrong if the
// server keeps more answers than a read's.
func (f *flooder) tryToFill() (problem string) {
	f.t.Helper()
	for progress := time.Now(); ; {
		stuck := f.press()
		now, known := f.queues()
		// What the server has taken, and neither sent nor thrown away.
		keeps := answersTo(max(0, f.asked-now.clientSent-now.serverUnread)) - f.read - now.serverSent - now.clientUnread
		if limit := 8 << 20; known && keeps > limit || !known && keeps > 24*limit {
			return fmt.Sprintf("It asked %d KB of questions and read %d KB of answers. The server should stop reading, and keeps %d MiB of answers, or their questions.", f.asked>>10, f.read>>10, keeps>>20)
		}
		if !stuck {
			progress = time.Now()
			continue
		}
		// TCP, or a busy server, may pause.
		rests := f.service.restsWithin(f.t, time.Second)
		later, _ := f.queues()
		full := rests && later == now && (now.serverUnread > 0 || !known)
		if full {
			return ""
		}
		if time.Since(progress) > f.service.patience {
			f.service.mustRest(f.t, "beside one that does not read")
			return ""
		}
	}
}

// drain reads so many bytes of answers, or to the end if it is negative.
func (f *flooder) drain(bytes int) {
	f.t.Helper()
	data := make([]byte, 64<<10)
	twice := floodAnswers + floodAnswers
	for end := f.read + bytes; bytes < 0 || f.read < end; {
		from := f.read % len(floodAnswers)
		room := min(len(data), len(floodAnswers))
		if bytes >= 0 {
			room = min(room, end-f.read)
		}
		n, err := f.Read(data[:room])
		if want := twice[from : from+n]; string(data[:n]) != want {
			f.fatalf("After %d bytes of right answers: %s. A write may take a part of the data only: keep exactly the rest.", f.read, difference(want, string(data[:n])))
		}
		f.read += n
		if want := answersTo(f.asked); err == io.EOF && bytes < 0 && f.read == want {
			return
		} else if err != nil {
			f.fatalf("It expected %d bytes of answers, then the end, and got %d bytes%s.", want, f.read, f.then(err))
		}
	}
}

var neverReads = rule{
	name:    "NeverReads",
	promise: "The server stops reading from a client that does not read its answers. If the client reads slowly, it gets every answer.",
	mend:    "read nothing more from a client until its answers are sent. A write that blocks does that; an event loop waits for room to write, and not for data. Do not queue answers without a limit, and keep the rest when a write takes a part of the data only.",
	check: func(t *testing.T, server Server) {
		s := start(t, server, options{})
		var other *client
		if several(server) {
			other = s.connect(t)
			other.ask()
		}
		// With a small window and small segments the server's writes are partial.
		c, err := s.tryToConnect(t, net.Dialer{Control: smallWindow})
		if err != nil {
			t.Fatal(err)
		}
		f := &flooder{client: c}
		f.fill()
		f.did("asked until the server read no more")
		if other != nil {
			other.name = "Beside one that does not read, another client"
			for range 100 {
				other.ask()
			}
			// Many answers to the other client must not overwrite those that wait.
			burst := strings.Repeat("?Beautiful is better than?", 1000)
			other.burst(burst)
		}
		for range 10 {
			f.drain(30 << 10)
			f.fill()
		}
		f.closeSide()
		f.SetReadBuffer(256 << 10)
		f.drain(-1)
		f.Close()
		s.serveOne(t)
	},
}

var flood = rule{
	name:    "Flood",
	promise: "The others get answers while one client floods the server.",
	mend:    "after one read from a client, give the others a turn.",
	applies: several,
	check: func(t *testing.T, server Server) {
		s := start(t, server, options{})
		f, other := &flooder{client: s.connect(t)}, s.connect(t)
		f.name = "A client that asks and reads without a pause"
		other.name = "Beside one that floods the server, a client"
		go func() {
			for {
				n, err := io.WriteString(f.TCPConn, floodQuestions)
				if err != nil || n == 0 {
					return
				}
			}
		}()
		for range 25 {
			f.drain(100_000)
			other.ask()
		}
		f.Close()
		other.ask()
	},
}
