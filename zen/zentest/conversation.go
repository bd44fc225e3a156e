package zentest

import (
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"fopnp/chapter07/zen"
)

// model returns the answers to a stream of bytes, seen as a whole.
func model(stream string) string {
	var answers strings.Builder
	for _, question := range strings.SplitAfter(stream, "?") {
		if len(question) > zen.MaxQuestion || !strings.HasSuffix(question, "?") {
			break
		}
		answer, known := zen.Aphorisms[question]
		if !known {
			answer = unknown
		}
		answers.WriteString(answer)
	}
	return answers.String()
}

var answers = rule{
	name:    "Answers",
	promise: "Each question is answered, in order.",
	mend:    "a question is every byte up to and including the next '?', spaces and newlines too. Look it up as it is, and answer " + unknown + " if it is not there.",
	check: func(t testing.TB, server Server) {
		s := start(t, server, options{})
		c := s.connect(t)
		for _, question := range []string{
			"Beautiful is better than?", "Explicit is better than?", "Simple is better than?",
			"?", "Flat is better than?", "simple is better than?", " Simple is better than?",
			"\nSimple is better than?", "\x00?", "\xff\xfe?", "优美优于?", "Simple is better than\r\n?",
		} {
			c.send(question)
			c.expect(model(question))
		}
		c.Close()
		s.serveOne(t)
	},
}

var framing = rule{
	name:    "Framing",
	promise: "How the bytes are cut up on their way changes nothing.",
	mend:    "TCP is a stream of bytes. One read may return half a question or many: keep what has no '?' yet for the next read, and answer every question of a read.",
	check: func(t testing.TB, server Server) {
		s := start(t, server, options{})
		c := s.connect(t)
		c.send("Beautiful is better than?Explicit is better")
		c.expect("Ugly.")
		c.expectNothing()
		c.send(" than?Simple is better than")
		c.expect("Implicit.")
		c.expectNothing()
		c.send("?")
		c.expect("Complex.")
		c.Close()
		s.exchange(t, strings.Repeat("Beautiful is better than?Explicit is better than??", 2000), whole)
		s.exchange(t, "Beautiful is better than?Explicit is better than??\x00\xff?Simple", oneByte)
		random := rand.New(rand.NewPCG(7, 7))
		for range 40 {
			stream := randomStream(random)
			longest := 1 + random.IntN(1+len(stream))
			s.exchange(t, stream, func() int { return 1 + random.IntN(longest) })
		}
	},
}

// exchange sends stream in pieces, with a length from cut for each, closes its
// side, and compares everything that comes back with the model.
func (s *service) exchange(t testing.TB, stream string, cut func() int) {
	t.Helper()
	c := s.connect(t)
	defer c.Close()
	var pieces []string // cut is called here, not in the goroutine, which may outlive this call
	for rest := stream; len(rest) > 0; {
		n := min(cut(), len(rest))
		pieces = append(pieces, rest[:n])
		rest = rest[n:]
	}
	c.did("sent %s in %d pieces", quote(stream), len(pieces))
	c.did("closed its side")
	go func() {
		for _, piece := range pieces {
			if _, err := io.WriteString(c, piece); err != nil {
				return // a question was too long
			}
		}
		c.tcp.CloseWrite()
	}()
	c.expectLast(model(stream))
}

func whole() int   { return 1 << 30 }
func oneByte() int { return 1 }

// randomStream returns known, unknown and empty questions, and perhaps a part of
// one at the end.
func randomStream(random *rand.Rand) string {
	pieces := []string{
		"Beautiful is better than?", "Explicit is better than?", "Simple is better than?",
		"?", "simple is better than?", "\x00?", "\xff\xfe?", "优美优于?", "\r\n?",
		strings.Repeat("long ", 200) + "?", "Simple", "\n", "\xff\x00",
	}
	var stream strings.Builder
	for range random.IntN(30) {
		stream.WriteString(pieces[random.IntN(len(pieces))])
	}
	return stream.String()
}

var longestQuestion = rule{
	name:    "LongestQuestion",
	promise: "A question of 4096 bytes is answered. After a longer one the server hangs up.",
	mend:    "when 4097 bytes have come without a '?', send no answer, and close the connection. Count the bytes of a question, not those of one read.",
	check: func(t testing.TB, server Server) {
		s := start(t, server, options{})
		for length := zen.MaxQuestion - 1; length <= zen.MaxQuestion+1; length++ {
			for _, piece := range []int{length, zen.MaxQuestion, zen.MaxQuestion - 1, 1000, 7} {
				c := s.connect(t)
				c.ask()
				c.did("sent a question of %d bytes in pieces of %d", length, piece)
				for rest := strings.Repeat("x", length-1) + "?"; rest != ""; {
					n := min(piece, len(rest))
					io.WriteString(c, rest[:n]) // fails if the server has hung up
					rest = rest[n:]
				}
				if length <= zen.MaxQuestion {
					c.expect(unknown)
					c.ask()
				} else {
					c.expectHangUp()
				}
				c.Close()
			}
		}
		c := s.connect(t) // and a long question without its '?'
		c.ask()
		c.send(strings.Repeat("x", zen.MaxQuestion+1))
		c.expectHangUp()
	},
}

// expectHangUp waits for the end, or for a reset: the server has hung up while the
// client was still sending.
func (c *client) expectHangUp() {
	c.t.Helper()
	got, err := io.ReadAll(io.LimitReader(c, 1000))
	if then := c.then(err); len(got) > 0 || strings.Contains(then, "nothing") {
		c.fatalf("It expected the end and got %s%s.", quote(string(got)), then)
	}
}

var halfClose = rule{
	name:    "HalfClose",
	promise: "A client that closes its side gets every answer that it is owed, and then the end.",
	mend:    "when a read returns the end, close the connection too, after what is not sent yet.",
	check: func(t testing.TB, server Server) {
		s := start(t, server, options{})
		for _, questions := range []int{0, 1, 100} {
			for _, last := range []string{"", "Beau", question} {
				c := s.connect(t)
				for range questions {
					c.ask()
				}
				c.send(last)
				c.closeSide()
				c.expectLast(model(last))
				c.Close()
			}
		}
	},
}

var ownAnswers = rule{
	name:    "OwnAnswers",
	promise: "Each client gets its own answers, whoever has just left and whichever listener accepts it.",
	mend:    "what is kept for a connection must go when the connection is closed: the system gives the same descriptor to the next one.",
	check: func(t testing.TB, server Server) {
		s := start(t, server, options{})
		questions := slices.Sorted(maps.Keys(zen.Aphorisms))
		var clients sync.WaitGroup
		for i := range 16 {
			clients.Add(1)
			go func() {
				defer clients.Done()
				for turn := range 8 {
					if t.Failed() {
						return // one failure says enough
					}
					if (i+turn)%2 == 0 { // leave something that the next client must not get
						c := s.connect(t)
						c.tryToSend(strings.Repeat("?", 1000) + "Beau")
						c.reset()
					}
					c := s.connect(t)
					c.name = "One of 16 clients that come and leave"
					for n := range 10 {
						question := questions[(i+turn+n)%len(questions)]
						half := (i + n) % len(question)
						c.send(question[:half])
						c.send(question[half:])
						c.expect(zen.Aphorisms[question])
					}
					c.Close()
				}
			}()
		}
		clients.Wait()
	},
}
