package zentest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"fopnp/chapter07/zen"
)

// conversationRules say what a client gets.
var conversationRules = []rule{{
	name:    "AtOnce",
	promise: "The server serves as many clients at once as its architecture allows. One more waits until a client leaves.",
	mend:    "does the server serve a limited number of clients at once, as a server with one thread or a pool of them? Then say how many: -at-once 4. Without the flag any number is expected.",
	check: func(t *testing.T, server Server) {
		s := start(t, server)
		if n := server.some(300); n < 300 && unlimited(server) {
			t.Logf("SKIPPED in part: only %d clients come, because this system allows %d descriptors", n, descriptorLimit())
		}
		held := s.connectMany(t, 300)
		for _, c := range held {
			c.ask()
		}
		if server.AtOnce == 0 {
			return
		}
		extra := s.connect(t)
		extra.name = fmt.Sprintf("While as many clients as the server serves at once (%d) are connected, one more", server.AtOnce)
		extra.send(question)
		extra.expectNothing()
		held[len(held)/2].Close()
		extra.did("saw another client leave")
		extra.expect(answer)
	},
}, {
	name:    "Answers",
	promise: "Each question is answered, in order. A client that closes its side gets every answer, and then the end.",
	mend:    "a question is every byte up to and including the next '?', spaces and newlines too. Look it up as it is, and answer " + unknown + " if it is not there. When a read returns the end, send what is not sent yet, and close the connection too.",
	check: func(t *testing.T, server Server) {
		s := start(t, server)
		for _, stream := range []string{"", "Beau", question} {
			s.exchange(t, stream, whole)
		}
		c := s.connect(t)
		for _, question := range odd {
			if strings.HasSuffix(question, "?") {
				c.send(question)
				c.expect(model(question))
			}
		}
	},
}, {
	name:    "Framing",
	promise: "How the bytes are cut up on their way changes nothing.",
	mend:    "TCP is a stream of bytes. One read may return half a question or many: keep what has no '?' yet for the next read, and answer every question of a read.",
	check: func(t *testing.T, server Server) {
		s := start(t, server)
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
		s.exchange(t, "Beautiful is better than?Explicit is better than??\x00\xff?Simple", 1)
		random := rand.New(rand.NewPCG(7, 7))
		for range 40 {
			var stream strings.Builder
			for range random.IntN(30) {
				stream.WriteString(odd[random.IntN(len(odd))])
			}
			s.exchange(t, stream.String(), 1+random.IntN(1+stream.Len()))
		}
	},
}, {
	name:    "LongestQuestion",
	promise: "A question of 4096 bytes is answered. After a longer one the server hangs up.",
	mend:    "4096 bytes with the '?' are allowed. When 4097 have come without a '?', send no answer, and close the connection. Count the bytes of a question, not its letters, and not those of one read.",
	check: func(t *testing.T, server Server) {
		s := start(t, server)
		for length := zen.MaxQuestion - 1; length <= zen.MaxQuestion+1; length++ {
			for _, piece := range []int{length, zen.MaxQuestion, zen.MaxQuestion - 1, 1000, 7} {
				for _, letter := range []string{"x", "美"} {
					s.exchange(t, strings.Repeat(letter, length)[:length-1]+"?", piece)
				}
			}
		}
		for _, endless := range []string{tooLong, strings.Repeat("x", 1<<20)} {
			c := s.connect(t)
			c.ask()
			c.send(endless)
			c.expectHangUp()
			c.Close()
		}
	},
}, {
	name:    "OwnAnswers",
	promise: "Each client gets its own answers, whoever has just left.",
	mend:    "two connections must not share a buffer for answers that are not sent yet. What is kept for a connection must go when it is closed: the system gives the same descriptor to the next one.",
	check: func(t *testing.T, server Server) {
		s := start(t, server)
		for range 8 {
			var clients []*client
			for range server.some(16) {
				before := s.connect(t) // leaves something that the next client must not get
				before.send(strings.Repeat("?", 1000) + "Beau")
				before.reset()
				c := s.connect(t)
				c.name = "One of up to 16 clients that ask at the same time, and come after some that left,"
				clients = append(clients, c)
			}
			for n := range 7 {
				for i, c := range clients {
					c.send(odd[(i+n)%3][:i+n])
				}
				for i, c := range clients {
					c.send(odd[(i+n)%3][i+n:])
				}
				for i, c := range clients {
					c.expect(model(odd[(i+n)%3]))
				}
			}
			for _, c := range clients {
				c.Close()
			}
		}
	},
}}

// model returns the answers to a stream of bytes, seen as a whole.
func model(stream string) string {
	var answers strings.Builder
	for question := range strings.SplitAfterSeq(stream, "?") {
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

// odd are questions, and parts of one at the end, that a server may take for others.
var odd = []string{
	"Beautiful is better than?", "Explicit is better than?", "Simple is better than?",
	"?", "Flat is better than?", "simple is better than?", " Simple is better than?",
	"\nSimple is better than?", "\ufeffSimple is better than?", "Simple is better than？?", "\x00?", "\xff\xfe?",
	"优美优于?", "Simple is better than\r\n?", strings.Repeat("long ", 200) + "?", "Simple", "\n", "\xff\x00",
}

const whole = 1 << 20 // a piece that is longer than any stream of the rules

// exchange sends stream in pieces of piece bytes, closes its side, and compares everything
// that comes back with the model.
func (s *service) exchange(t testing.TB, stream string, piece int) {
	t.Helper()
	c := s.connect(t)
	defer c.Close()
	c.did("sent %s, %d bytes at a time, closed its side", quote(stream), min(piece, len(stream)))
	go func() {
		for chunk := range slices.Chunk([]byte(stream), piece) {
			c.Write(chunk) // fails if a question was too long
		}
		c.CloseWrite()
	}()
	c.expect(model(stream))
	if strings.Count(model(stream), ".") < strings.Count(stream, "?") { // one was too long
		c.expectHangUp()
	} else {
		c.expectEnd()
	}
}
