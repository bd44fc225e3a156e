package zentest

import (
	"os"
	"strings"
	"testing"
	"time"

	"fopnp/chapter07/zen"
)

var descriptors = rule{
	name:    "Descriptors",
	promise: "Out of descriptors, the server keeps serving its clients. It accepts new ones when descriptors are free.",
	mend:    "when accept fails with EMFILE, wait a little (5 ms, doubled up to a second) and try again. Do not end, and do not try without a pause. Or the queue of the server is short: some 30 clients wait in it here (the argument of listen).",
	applies: unlimited,
	check: func(t testing.TB, server Server) {
		skipOnWindows(t, "ulimit does not limit descriptors")
		mustRest(t, "out of descriptors", func(long time.Duration) (used time.Duration) {
			s := start(t, server, options{descriptors: 64})
			first := s.connect(t)
			first.name = "The first of 91 clients of a server with 64 descriptors"
			first.ask()
			var rest []*client
			for range 90 { // those that are not accepted fit into a small queue
				rest = append(rest, s.connect(t))
			}
			if server.ours() {
				s.await(t, `^Accept error: .*; retrying in 1s$`)
			}
			for end := time.Now().Add(long); time.Now().Before(end); {
				first.expectNothing()
			}
			for range 100 {
				first.ask()
			}
			first.Close()
			for _, c := range rest {
				c.Close()
			}
			s.serveOne(t)
			if text, _ := s.log.read(); strings.Count(text, "Accept error") > 50+int(long/time.Second) {
				t.Errorf("The server has tried to accept without a pause, and failed %d times: it spins.", strings.Count(text, "Accept error"))
			}
			return s.end(t, os.Kill)
		})
	},
}

var noLeak = rule{
	name:    "NoLeak",
	promise: "A client that has left leaves no descriptor behind.",
	mend:    "close the connection however the client leaves: at the end, after an error, and after too long a question.",
	applies: inOneProcess,
	check: func(t testing.TB, server Server) {
		skipOnWindows(t, "ulimit does not limit descriptors")
		s := start(t, server, options{descriptors: 64})
		for range 40 {
			s.serveOne(t)
			for _, data := range []string{"", "Simple is", question, strings.Repeat("x", 5000)} {
				c := s.connect(t)
				c.name = "After up to 200 others, to a server with 64 descriptors, a client"
				c.send(data)
				c.reset()
			}
		}
		s.serveOne(t)
		if text, _ := s.log.read(); server.ours() && strings.Contains(text, "Accept error") {
			t.Error("200 clients have come and left, never more than a few at once. A server with 64 descriptors has run out of them.")
		}
	},
}

var noSpin = rule{
	name:    "NoSpin",
	promise: "A server that has nothing to do uses no processor time.",
	mend:    "wait for events without a time limit. A socket that has room to write is always ready: wait for that only while there is something to send.",
	applies: inOneProcess,
	check: func(t testing.TB, server Server) {
		mustRest(t, "beside silent clients, and one that does not read", func(long time.Duration) (used time.Duration) {
			s := start(t, server, options{})
			var held []*client
			for range server.some(3) {
				c := s.connect(t)
				c.ask()
				c.send("Beau")
				held = append(held, c)
			}
			held[0].fill()
			if server.atLeast(len(held) + 1) {
				gone := s.connect(t)
				gone.ask()
				gone.reset()
			}
			time.Sleep(long) // this must not take processor time
			return s.end(t, os.Kill)
		})
	},
}

// mustRest fails if the server uses processor time while it has nothing to do.
// Run starts a server, leaves it alone for so long, ends it, and returns the
// processor time that it has used. A server that rests uses some to start, and no
// more in a longer time.
func mustRest(t testing.TB, when string, run func(long time.Duration) (used time.Duration)) {
	t.Helper()
	var used time.Duration
	long := time.Second
	for range 3 {
		if used = run(long); used < long/4 {
			return
		}
		long *= 2
	}
	t.Errorf("The server had nothing to do for %v (%s), and has used %v of processor time: it spins.", long/2, when, used)
}

var memory = rule{
	name:    "Memory",
	promise: "When a client falls silent, the server frees its buffers.",
	mend:    "do not keep a buffer for each client that is as large as its largest burst.",
	applies: func(s Server) bool { return unlimited(s) && !raceDetector }, // the detector keeps memory for what is freed too
	check: func(t testing.TB, server Server) {
		const clients, limit = 200, 45 << 10 // bytes for each
		var each int
		for range 3 { // what is not collected yet counts too
			s := start(t, server, options{})
			var held []*client
			for range clients {
				c := s.connect(t)
				c.ask()
				held = append(held, c)
			}
			before, ok := s.memory(t)
			if !ok {
				return
			}
			for _, c := range held {
				c.send(strings.Repeat("x", zen.MaxQuestion-1))
			}
			for _, c := range held {
				c.send("?")
				c.expect(unknown)
				c.send(strings.Repeat("?", 2000))
				c.expect(strings.Repeat(unknown, 2000)) // 48 KB
			}
			after, _ := s.memory(t)
			s.stop(t)
			if each = (after - before) / clients; each < limit {
				return
			}
		}
		t.Errorf("%d clients each sent a question of 4096 bytes, asked 2,000 at once, read the answers and fell silent. The server keeps %d bytes for each; at most %d are expected.", clients, each, limit)
	},
}
