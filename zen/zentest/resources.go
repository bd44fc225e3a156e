package zentest

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"fopnp/chapter07/zen"
)

// resourceRules say what the server needs of the system.
var resourceRules = []rule{{
	name:    "Leaving",
	promise: "A client that leaves, in whatever way, ends nobody else, and leaves no descriptor, thread or process behind.",
	mend:    "every read and every write may return an error (connection reset, broken pipe): close that connection and go on. Close it at the end and after too long a question, too. End the thread that served it, and collect a process that has ended.",
	check: func(t *testing.T, server Server) {
		server.script = withFew
		s := start(t, server)
		number, after := 0, ""
		clients := func() {
			for i := range 10 {
				for _, way := range ways {
					number++
					c := s.connectWith(t, slow)
					c.name = fmt.Sprintf("Client number %d of a server with %d descriptors%s,", number, few, after)
					way.reach(c)
					after = ", after one that closed its connection " + way.name
					if i%2 == 0 {
						c.SetLinger(0)
						after = ", after one that sent a reset " + way.name
					}
					c.Close()
				}
			}
		}
		what := fmt.Sprintf("%d clients came and left in %d ways", 10*len(ways), len(ways))
		// Processes are first: one that is left has threads and descriptors too.
		s.settles(t, what, clients, 4, 5, "processes", "threads", "descriptors")
		// Without /proc a server that leaks 5 descriptors each time must run out of them.
		for n := 0; hasShell && !hasProc() && n < few/5; n++ {
			clients()
		}
		if server.ours() && strings.Contains(s.printed(), "Accept error") {
			t.Fatalf("%d clients have come and left, one after the other. A server with %d descriptors has run out of them.", number, few)
		}
	},
}, {
	name:    "Silence",
	promise: "A client may send nothing for as long as it likes. Beside it, and beside one that reads nothing, the server uses no processor time.",
	mend:    "set no limit of time: the service has none. Wait for events. A socket that has room to write is always ready: wait for that only while there is something to send. A socket whose client has closed its side always has something to read: then do not wait for data.",
	check: func(t *testing.T, server Server) {
		s := start(t, server)
		c := s.connect(t)
		c.ask()
		c.send("Simple is ")
		s.mustRest(t, "beside a silent client")
		time.Sleep(long)
		c.did("was silent for %v", long)
		c.send("better than?")
		c.expect(answer)
		if !several(server) {
			c.Close()
		}
		f := &flooder{client: s.connect(t)}
		if problem := f.tryToFill(); problem == "" { // if not, see NeverReads
			s.mustRest(t, "beside a silent client, and one that does not read")
		}
		f.closeSide()
		s.mustRest(t, "beside a client that does not read, and has closed its side")
		f.reset()
		s.serveOne(t)
		s.mustRest(t, "after that client has sent a reset")
	},
}, {
	name:    "Memory",
	promise: "When a client falls silent, the server frees its buffers.",
	mend:    "do not keep a buffer for each client that is as large as its largest burst.",
	applies: func(s Server) bool { return unlimited(s) && hasProc() && !raced() },
	check: func(t *testing.T, server Server) {
		// A right server may keep a stack, and what its allocator does not give back:
		// 160 KB for each client were seen. A burst is 480 KB of answers.
		const burst, limit = 20_000, 320 << 10
		n := max(1, server.some(450)/9) // the first, and those of up to 8 waves, stay connected
		s := start(t, server)
		first := s.connectMany(t, n)
		if len(s.processes()) > n {
			t.Skip("SKIPPED: a client has a process, which costs what a process costs")
		}
		what := fmt.Sprintf("%d clients, and as many new ones, sent a question of %d bytes, asked %d at once, read the answers and fell silent", n, zen.MaxQuestion, burst)
		s.settles(t, what, func() {
			clients := append(s.connectMany(t, n), first...)
			for _, c := range clients {
				c.send(strings.Repeat("x", zen.MaxQuestion-1))
			}
			for _, c := range clients {
				c.burst("?" + strings.Repeat("?", burst))
				c.ask()
			}
		}, 8, limit*n, "bytes of memory")
	},
}, {
	name:    "Descriptors",
	promise: "Out of descriptors, the server keeps serving its clients. It accepts new ones when descriptors are free.",
	mend:    "when accept fails with EMFILE, wait a little (5 ms, doubled up to a second) and try again. Do not end, do not try without a pause, and hang up on nobody.",
	applies: func(s Server) bool { return unlimited(s) && hasShell },
	check: func(t *testing.T, server Server) {
		server.script = withFew
		s := start(t, server)
		var clients []*client
		for range 90 {
			c, err := s.tryToConnect(t, net.Dialer{Timeout: s.patience() / 5})
			if err != nil {
				break // the system's queue of clients is full
			}
			c.name = fmt.Sprintf("One of 90 clients of a server with %d descriptors", few)
			c.send(question)
			clients = append(clients, c)
		}
		time.Sleep(long)
		s.mustRest(t, "out of descriptors")
		if server.ours() {
			s.await(t, `^Accept error: .*; retrying in 1s$`)
		}
		for _, c := range clients { // in the order in which they connected, and are accepted
			switch _, err := io.ReadFull(c, make([]byte, len(answer))); {
			case err == nil:
				c.did("got the answer")
				c.ask()
			case os.IsTimeout(err):
				c.fatalf("It expected the answer when those before it had left%s.", c.then(err))
			} // else it was refused, as libuv and macOS do
			c.Close()
		}
		s.rests() // until it has closed them
		s.serveOne(t)
	},
}}

// settles calls clients until the server has not grown: when it rests, it has fewer than
// limit more of each resource. A server with a garbage collector may grow for some waves of
// clients, and then no more. If it still grows in the last of the waves, settles fails. The
// text what tells what the clients of a wave did.
func (s *service) settles(t *testing.T, what string, clients func(), waves, limit int, resources ...string) {
	t.Helper()
	for wave := 1; ; wave++ {
		before := s.resources()
		clients()
		s.rests()
		now := s.resources()
		grown := slices.IndexFunc(resources, func(r string) bool { return now[r] >= before[r]+limit })
		if grown < 0 {
			return
		}
		if r := resources[grown]; wave == waves {
			t.Fatalf("%s, %d times. Each time the server had more when it rested: now it has %d %s, and before the last time it had %d. It should have fewer than %d more.", what, waves, now[r], r, before[r], limit)
		}
	}
}

// long is how long a client stays silent, or a server is out of descriptors, before the
// suite concludes that neither gives up.
const long = 6 * time.Second

// few is a limit of descriptors that a server with a leak soon reaches. The script sets it,
// but not on Windows.
const few, withFew = 64, `ulimit -n 64; exec "$@"`

// hasShell reports whether a script can start the server.
const hasShell = runtime.GOOS != "windows"

// raced reports whether the race detector is on. It keeps memory for what is freed.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
