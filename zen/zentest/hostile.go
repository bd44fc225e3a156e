package zentest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"fopnp/chapter07/zen"
)

var endlessQuestion = rule{
	name:    "EndlessQuestion",
	promise: "A question without an end takes no memory: the server hangs up.",
	mend:    "stop reading when 4097 bytes have come without a '?', and close.",
	check: func(t testing.TB, server Server) {
		s := start(t, server, options{})
		c := s.connect(t)
		c.ask()
		before, _ := s.memory(t)
		c.did("sent 200 MB without a '?'")
		go func() {
			chunk := bytes.Repeat([]byte("x"), 1<<20)
			for range 200 {
				if _, err := c.Write(chunk); err != nil {
					return
				}
			}
		}()
		c.expectHangUp()
		s.checkGrowth(t, before)
		c.Close()
		s.serveOne(t)
	},
}

var hangUp = rule{
	name:    "HangUp",
	promise: "When the server hangs up on a client that is still sending, the client gets the answers sent before.",
	mend:    "to close a connection at which more arrives is to reset it, and the answers on their way are lost. Linger: shut down the writing side, read and discard for up to a second, then close. A server that does not hang up at all breaks LongestQuestion too.",
	check: func(t testing.TB, server Server) {
		s := start(t, server, options{})
		inTime(5, func() (fail func()) {
			const asked = 2000 // 48 KB of answers fit into the buffers of every system
			c := s.connect(t)
			c.tcp.SetReadBuffer(4 << 10) // so that most of them wait on the server's side
			c.tryToSend(strings.Repeat("?", asked) + strings.Repeat("x", 3*zen.MaxQuestion))
			c.steps = []string{"asked 2000 questions at once and sent 12 KB of one that is too long"}
			want := strings.Repeat(unknown, asked)
			if server.ours() {
				s.await(t, "^Client "+regexp.QuoteMeta(c.LocalAddr().String())+" error: question longer than 4096 bytes$")
			} else {
				c.expect(unknown)
				want = want[len(unknown):]
			}
			for range 3 {
				c.tryToSend("y")
			}
			c.tcp.SetReadBuffer(256 << 10)
			got := make([]byte, len(want))
			n, err := io.ReadFull(c, got)
			c.Close()
			if string(got[:n]) == want {
				return nil
			}
			fail = func() { c.fatalf("It read late, and got %d of %d bytes of answers%s.", n, len(want), c.then(err)) }
			if os.IsTimeout(err) {
				fail()
			}
			return fail
		})
		inTime(1, func() (fail func()) {
			c := s.connect(t)
			c.send(strings.Repeat("x", zen.MaxQuestion+1))
			c.expectLast("")
			var err error
			for range 3 { // the answer to one may reset the connection
				err = c.tryToSend("y")
				time.Sleep(100 * time.Millisecond)
			}
			if err == nil {
				return nil
			}
			return func() { c.fatalf("The server has not waited until the client closed, or for a second%s.", c.then(err)) }
		})
		s.serveOne(t) // the client before has not closed yet
	},
}

// inTime calls try until it has succeeded so many times. Try returns nil or a
// function that fails the test. A server lingers for a second only: if a try took
// half a second the failure may be the machine's, and inTime tries again.
func inTime(times int, try func() (fail func())) {
	for slow := 0; times > 0; {
		begin := time.Now()
		switch fail := try(); {
		case fail == nil:
			times--
		case time.Since(begin) < time.Second/2 || slow >= 10:
			fail()
		default:
			slow++
		}
	}
}

var resets = rule{
	name:    "Reset",
	promise: "A reset ends one client, and never the server.",
	mend:    "every read and every write may return an error (connection reset, broken pipe): close that client and go on.",
	check: func(t testing.TB, server Server) {
		s := start(t, server, options{})
		for _, state := range []struct {
			name  string
			reach func(c *client)
		}{
			{"at once", func(*client) {}},
			{"in the middle of a question", func(c *client) { c.send("Simple is") }},
			{"after an answer", func(c *client) { c.ask() }},
			{"after an answer, in the middle of a question", func(c *client) { c.ask(); c.send("Simple is") }},
			{"with answers unread", func(c *client) { c.ask(); c.send(strings.Repeat(question, 1000)) }},
			{"while the server waits to send", func(c *client) { c.fill() }},
			{"half-closed", func(c *client) { c.send(question); c.closeSide() }},
			{"after too long a question", func(c *client) { c.send(strings.Repeat("x", 5000)) }},
		} {
			for range 3 {
				c := s.connect(t)
				state.reach(c)
				c.reset()
				next := s.connect(t)
				next.name = "After a client that sent a reset " + state.name + ", another client"
				next.ask()
				next.Close()
			}
		}
	},
}

// fill asks, and reads no answer, until the server reads no more. It returns how
// many questions the server and the system have taken.
func (c *client) fill() (questions int) {
	c.t.Helper()
	const most = 8 << 20 // answers of 192 MB, more than any system's buffers
	c.tcp.SetWriteBuffer(16 << 10)
	c.tcp.SetReadBuffer(16 << 10)
	chunk := bytes.Repeat([]byte("?"), 16<<10)
	for stalled := 0; stalled < 3; stalled++ {
		c.SetWriteDeadline(time.Now().Add(c.service.quiet))
		n, err := c.Conn.Write(chunk)
		if questions += n; n > 0 {
			stalled = 0
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			c.fatalf("It asked %d questions, and read no answer; it expected the server to stop reading, and got an error: %v.", questions, err)
		}
		if questions > most {
			c.fatalf("It asked %d questions, and read no answer; it expected the server to stop reading, but the server has taken them all. Read nothing more from a client until its answers are sent.", questions)
		}
	}
	c.did("asked %d questions while it read no answer", questions)
	return questions
}

// expectAnswers reads the answers to so many unknown questions, piece by piece,
// and then the end.
func (c *client) expectAnswers(questions, piece int) {
	c.t.Helper()
	c.tcp.SetReadBuffer(256 << 10) // with a small one TCP crawls
	c.closeSide()
	period := strings.Repeat(unknown, 2+piece/len(unknown))
	want := questions * len(unknown)
	for got, data := 0, make([]byte, piece); ; runtime.Gosched() {
		n, err := c.Read(data)
		if from := got % len(unknown); string(data[:n]) != period[from:from+n] {
			c.fatalf("After %d bytes of right answers: %s. A write may take a part of the data only: keep exactly the rest.", got, difference(period[from:from+n], string(data[:n])))
		}
		got += n
		if err == io.EOF && got == want {
			return
		}
		if err != nil {
			c.fatalf("It expected %d bytes of answers, then the end, and got %d bytes%s.", want, got, c.then(err))
		}
	}
}

var neverReads = rule{
	name:    "NeverReads",
	promise: "The server stops reading from a client that does not read its answers. Such a client costs no memory.",
	mend:    "read nothing more from a client until its answers are sent. A write that blocks does that; an event loop waits for room to write, and not for data. Do not queue answers without a limit.",
	check: func(t testing.TB, server Server) {
		s := start(t, server, options{})
		other := s.connect(t)
		before, _ := s.memory(t)
		if server.atLeast(2) {
			other.ask()
			before, _ = s.memory(t)
		} else {
			other.Close()
		}
		silent := s.connect(t)
		asked := silent.fill()
		s.checkGrowth(t, before)
		if server.atLeast(2) {
			other.name = "Beside one that does not read, another client"
			for range 100 {
				other.ask()
			}
			// Many answers to the other client must not overwrite those that wait.
			const first = "Beautiful is better than?" // so that the answers are not in step
			burst := first + strings.Repeat("?", 2000)
			other.send(burst)
			other.expect(model(burst))
		}
		silent.expectAnswers(asked, 64<<10)
		silent.Close()
		s.serveOne(t)
		s.checkGrowth(t, before)
	},
}

var slowReader = rule{
	name:    "SlowReader",
	promise: "A client that reads slowly gets every answer.",
	mend:    "a write may take a part of the data only. Keep the rest, and send it when the client has read.",
	check: func(t testing.TB, server Server) {
		s := start(t, server, options{})
		c := s.connect(t)
		c.expectAnswers(c.fill(), 3000)
	},
}

var flood = rule{
	name:    "Flood",
	promise: "The others get answers while one client floods the server.",
	mend:    "after one read from a client, give the others a turn.",
	applies: func(s Server) bool { return s.atLeast(2) },
	check: func(t testing.TB, server Server) {
		s := start(t, server, options{})
		flooder, other := s.connect(t), s.connect(t)
		flooder.ask()
		other.name = "Beside one that floods the server, a client"
		done := make(chan struct{})
		go func() {
			chunk := []byte(strings.Repeat(question, 700)) // 16 KB
			for {
				select {
				case <-done:
					flooder.tcp.CloseWrite()
					return
				default:
					flooder.Write(chunk)
				}
			}
		}()
		flooded := make(chan int) // the bytes of each read
		go func() {
			defer close(flooded)
			answers := make([]byte, 64<<10)
			for {
				n, err := flooder.Read(answers)
				if err != nil {
					return
				}
				flooded <- n
			}
		}()
		// flows waits until the flooder has read some more answers.
		flows := func() {
			for bytes := 0; bytes < 100_000; {
				n, ok := <-flooded
				if !ok {
					t.Fatalf("A client that asks and reads without a pause was disconnected, or got no answers for %v.", s.patience)
				}
				bytes += n
			}
		}
		for range 25 {
			flows()
			other.ask()
		}
		close(done)
		for range flooded {
		}
		flooder.Close()
		other.ask()
	},
}
