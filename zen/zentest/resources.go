package zentest

import (
	"fmt"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"fopnp/chapter07/zen"
)

var noSpin = rule{
	name:    "NoSpin",
	promise: "A server that has nothing to do uses no processor time.",
	mend:    "wait for events without a time limit. A socket that has room to write is always ready: wait for that only while there is something to send.",
	applies: inOneProcess,
	check: func(t *testing.T, server Server) {
		s := start(t, server, options{})
		for range server.some(3) - 1 {
			c := s.connect(t)
			c.ask()
			c.send("Beau")
		}
		c := s.connect(t)
		if problem := (&flooder{client: c}).tryToFill(); problem == "" { // if not, see NeverReads
			s.mustRest(t, "beside silent clients, and one that does not read")
		}
		c.closeSide()
		s.mustRest(t, "beside a client that does not read, and has closed its side")
		c.reset()
		if server.AtOnce == 0 {
			s.serveOne(t)
		}
		s.mustRest(t, "after that client has sent a reset")
	},
}

// few is a limit of descriptors that a server with a leak soon reaches.
const few = 64

func skipWithoutUlimit(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED on Windows: ulimit does not limit descriptors")
	}
}

var noLeak = rule{
	name:    "NoLeak",
	promise: "A client that has left leaves nothing behind: no descriptor, no thread and no process.",
	mend:    "close the connection however the client leaves: at the end, after an error of a read or a write, and after too long a question. End the thread that served it, and collect a process that has ended.",
	check: func(t *testing.T, server Server) {
		skipWithoutUlimit(t)
		s := start(t, server, options{descriptors: few})
		before, grown := map[string]int{}, map[string]int{} // grown: so many rounds in a row
		for round := 0; ; round++ {
			for i := range 10 {
				for _, way := range ways {
					c := s.connect(t)
					c.name = fmt.Sprintf("After some %d others, to a server with %d descriptors, a client", 10*len(ways)*(round+1), few)
					way.reach(c)
					if i%2 == 0 {
						c.reset()
					} else {
						c.Close()
					}
				}
			}
			s.serveOne(t)
			if server.ours() && strings.Contains(s.printed(), "Accept error") {
				t.Fatalf("Some %d clients have come and left, one after the other. A server with %d descriptors has run out of them.", 10*len(ways)*(round+1), few)
			}
			if !hasProc() && round < few/5 {
				continue // until a leak would have taken all descriptors
			}
			s.rests(t)
			now, worst := s.resources(), 0
			for _, what := range []string{"process", "thread", "descriptor"} { // a process has threads
				n := now[what]
				if n < before[what]+5 || round == 0 {
					grown[what] = 0
				} else if grown[what]++; grown[what] == 3 {
					t.Fatalf("%d clients came and left in %d ways, three times. Each time the server had more: now it has %s, and before the last time it had %d.", 10*len(ways), len(ways), plural(n, what), before[what])
				}
				worst = max(worst, grown[what])
			}
			if round > 0 && worst == 0 {
				return
			}
			before = now
		}
	},
}

// raced reports whether the race detector is on. It keeps memory for what is freed.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

var memory = rule{
	name:    "Memory",
	promise: "When a client falls silent, the server frees its buffers.",
	mend:    "do not keep a buffer for each client that is as large as its largest burst.",
	applies: func(s Server) bool { return unlimited(s) && !raced() },
	check: func(t *testing.T, server Server) {
		if !hasProc() {
			t.Skip("SKIPPED: only Linux tells in /proc how much memory a server has")
		}
		// A right server may keep a stack, and what its allocator does not give back:
		// 160 KB for each client were seen. A burst is 480 KB of answers.
		const clients, burst, limit = 50, 20_000, 320 << 10
		s := start(t, server, options{})
		var held []*client
		for _, who := range []string{"The same", "Each time another"} {
			if len(s.processes()) > clients {
				return // a client has a process, which costs what a process costs
			}
			// A server with a garbage collector may grow for some waves, and then no more.
			for waves := 1; ; waves++ {
				before := s.memory()
				if len(held) == 0 || who != "The same" {
					held = nil
					for range clients {
						held = append(held, s.connect(t))
					}
				}
				for _, c := range held {
					c.send(strings.Repeat("x", zen.MaxQuestion-1))
				}
				for _, c := range held {
					c.burst("?" + strings.Repeat("?", burst))
					c.ask()
				}
				s.rests(t)
				each := (s.memory() - before) / clients
				if each < limit {
					break
				}
				if waves == 8 {
					t.Fatalf("%s %d clients sent a question of %d bytes, asked %d at once, read the answers and fell silent, %d times. Each time the memory of the server grew, the last time by %d bytes for each; at most %d are expected.", who, clients, zen.MaxQuestion, burst, waves, each, limit)
				}
			}
		}
	},
}

var descriptors = rule{
	name:    "Descriptors",
	promise: "Out of descriptors, the server keeps serving its clients. It accepts new ones when descriptors are free.",
	mend:    "when accept fails with EMFILE, wait a little (5 ms, doubled up to a second) and try again. Do not end, do not try without a pause, and hang up on nobody. Let at least 100 clients wait in the queue (the argument of listen).",
	applies: unlimited,
	check: func(t *testing.T, server Server) {
		skipWithoutUlimit(t)
		s := start(t, server, options{descriptors: few})
		s.patience += long // a client waits as long as before, when the shortage is over
		const clients = 90 // those that are not accepted fit into a small queue
		type newcomer struct {
			*client
			problem string
		}
		arrived := make(chan newcomer, clients)
		for range clients { // who is accepted is answered before the next one comes
			tried := make(chan struct{})
			go func() {
				defer close(tried)
				c, err := s.tryToConnect(t, net.Dialer{})
				if err != nil {
					arrived <- newcomer{nil, fmt.Sprintf("A client could not connect: %v.", err)}
					return
				}
				c.name = fmt.Sprintf("One of %d clients of a server with %d descriptors", clients, few)
				if err := c.tryToSend(question); err != nil {
					arrived <- newcomer{c, c.then(err)}
					return
				}
				arrived <- newcomer{c, c.tryToExpect(answer)}
			}()
			select {
			case <-tried:
			case <-time.After(time.Second / 20):
			}
		}
		if server.ours() {
			s.await(t, 1, `^Accept error: .*; retrying in 1s$`)
		}
		time.Sleep(long)
		s.mustRest(t, "out of descriptors")
		waiting := clients
		var served []*client
		for ; len(arrived) > 0; waiting-- {
			if c := <-arrived; c.problem == "" {
				served = append(served, c.client)
			} // else the system has no queue for it, or libuv has refused it
		}
		for _, c := range served {
			c.ask()
		}
		for _, c := range served {
			c.Close()
		}
		for ; waiting > 0; waiting-- {
			c := <-arrived
			if c.client == nil {
				continue
			}
			if strings.Contains(c.problem, "nothing happened") {
				c.fatalf("When %d others had left: %s", len(served), c.problem)
			}
			c.Close()
		}
		s.rests(t) // until it has closed them
		s.serveOne(t)
	},
}
