package zentest

import (
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
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
		first.expectNothing()
		s.mustRest(t, "out of descriptors")
		for range 100 {
			first.ask()
		}
		first.Close()
		for _, c := range rest {
			c.Close()
		}
		s.serveOne(t)
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
		complete := func() {
			s.serveOne(t)
			if text, _ := s.log.read(); server.ours() && strings.Contains(text, "Accept error") {
				t.Fatal("Hundreds of clients have come and left, never more than a few at once. A server with 64 descriptors has run out of them.")
			}
		}
		for range 40 {
			s.serveOne(t)
			for _, data := range []string{"", "Simple is", question, strings.Repeat("x", 5000)} {
				c := s.connect(t)
				c.name = "After up to 200 others, to a server with 64 descriptors, a client"
				c.send(data)
				c.reset()
			}
		}
		complete()
		for range 2 { // and of clients that stay for longer than the server lingers
			var held []*client
			for range server.some(40) {
				c := s.connect(t)
				c.name = "One of up to 80 clients that stay after too long a question, to a server with 64 descriptors,"
				c.tryToSend(strings.Repeat("x", 5000))
				held = append(held, c)
			}
			time.Sleep(2 * time.Second) // a server that hangs up has closed by then
			for _, c := range held {
				c.Close()
			}
		}
		complete()
	},
}

var noSpin = rule{
	name:    "NoSpin",
	promise: "A server that has nothing to do uses no processor time.",
	mend:    "wait for events without a time limit. A socket that has room to write is always ready: wait for that only while there is something to send.",
	applies: inOneProcess,
	check: func(t testing.TB, server Server) {
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
		s.mustRest(t, "beside silent clients, and one that does not read")
	},
}

// mustRest fails if the server does not rest: there should soon be a second in which
// it hardly runs. On a busy machine a server that spins waits for a processor; that
// counts too, where the system tells it.
func (s *service) mustRest(t testing.TB, when string) {
	t.Helper()
	var used time.Duration
	for range 8 {
		before, ok := s.runnable(t)
		if !ok {
			return
		}
		time.Sleep(time.Second) // this must not take processor time
		after, _ := s.runnable(t)
		if used = after - before; used < time.Second/4 {
			return
		}
	}
	t.Errorf("The server had nothing to do (%s), and in each of 8 seconds it ran or waited for a processor, in the last one for %v: it spins.", when, used)
}

// runnable returns how long the processes of the server have run or, on Linux, have
// waited for a processor. It is not ok if the system does not tell.
func (s *service) runnable(t testing.TB) (total time.Duration, ok bool) {
	t.Helper()
	if runtime.GOOS == "linux" {
		const files = "task/*/schedstat" // nanoseconds
		return time.Duration(s.sum(files, `^(\d+)`) + s.sum(files, `^\d+ (\d+)`)), true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for command := range s.processes {
		output, err := exec.Command("ps", "-o", "time=", "-p", strconv.Itoa(command.Process.Pid)).Output()
		match := regexp.MustCompile(`^\s*(\d+):(\d+\.\d+)\s*$`).FindStringSubmatch(string(output))
		if err != nil || match == nil {
			t.Log("SKIPPED in part: whether the server spins. There is no ps that tells its processor time.")
			return 0, false
		}
		used, _ := time.ParseDuration(match[1] + "m" + match[2] + "s")
		total += used
	}
	return total, true
}

var memory = rule{
	name:    "Memory",
	promise: "When a client falls silent, the server frees its buffers.",
	mend:    "do not keep a buffer for each client that is as large as its largest burst.",
	applies: func(s Server) bool { return unlimited(s) && !raceDetector }, // the detector keeps memory for what is freed too
	check: func(t testing.TB, server Server) {
		// A right server may keep a stack, and what its allocator does not give back, as
		// one with threads does: 160 KB were seen. A burst is 480 KB of answers.
		const clients, burst, limit = 100, 20_000, 320 << 10
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
				t.Skip("Nothing else is left of this rule.")
			}
			for _, c := range held {
				c.send(strings.Repeat("x", zen.MaxQuestion-1))
			}
			for _, c := range held {
				c.send("?")
				c.expect(unknown)
				c.send(strings.Repeat("?", burst))
				c.expect(strings.Repeat(unknown, burst))
			}
			after, _ := s.memory(t)
			s.stop(t)
			if each = (after - before) / clients; each < limit {
				return
			}
		}
		t.Errorf("%d clients each sent a question of 4096 bytes, asked %d at once, read the answers and fell silent. The server keeps %d bytes for each; at most %d are expected.", clients, burst, each, limit)
	},
}
