package zentest

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"fopnp/chapter07/zen/tools/watch/picture"
)

// programRules say how a server ends, and what it prints.
var programRules = []rule{{
	name:    "Stop",
	promise: "A server that is stopped or killed leaves its port to the next one. Signals that do not concern it change nothing.",
	mend:    "end by SIGTERM, do not end by SIGURG or SIGWINCH, and repeat a call that returns EINTR. Set SO_REUSEADDR on the listening socket, or the port is taken for a minute after the server has ended.",
	applies: listens,
	check: func(t *testing.T, server Server) {
		for _, last := range []os.Signal{os.Kill, syscall.SIGTERM} { // Windows kills it twice
			server.address = freeAddress(t) // the system gives its port to no client
			s := start(t, server)
			c := s.connect(t)
			c.name = "While SIGURG and SIGWINCH reach the server, a client"
			for range 50 {
				for _, signal := range harmless {
					deliver(s.command.Process, signal)
				}
				c.ask()
			}
			deliver(s.command.Process, last)
			s.awaitEnd(t, "by the signal "+last.String())
			c.did("saw the server end by the signal %v", last)
			c.expectHangUp()
			start(t, server).serveOne(t)
		}
	},
}, {
	name:    "Log",
	promise: "Every client leaves the same two lines in the log of every server, and cannot forge one.",
	mend:    "call NewConversation for each client, and End once.",
	applies: Server.ours,
	check: func(t *testing.T, server Server) {
		s := start(t, server)
		for _, row := range []struct {
			leave func(c *client)
			want  string
		}{
			{func(c *client) { c.ask(); c.Close() }, `Client socket to CLIENT has closed`},
			{func(c *client) { c.Close() }, `Client socket to CLIENT has closed`},
			{func(c *client) {
				c.send(question + "\nListening at 6.6.6.6:1\r\n\x1b[2J\xff" + strings.Repeat("x", 100))
				c.closeSide()
			}, `Client CLIENT error: received "\\nListening at 6\.6\.6\.6:1\\r\\n\\x1b\[2J\\xffx{10}" then socket closed`},
			{func(c *client) { c.send(tooLong) }, `Client CLIENT error: question longer than 4096 bytes`},
			{func(c *client) { c.ask(); c.send("Beau"); c.reset() }, `Client CLIENT error: ` + broken},
			{func(c *client) { (&flooder{client: c}).push(); c.reset() }, `Client CLIENT error: ` + broken},
		} {
			before := s.printed()
			c := s.connect(t)
			address := regexp.QuoteMeta(c.LocalAddr().String())
			s.await(t, "^Accepted connection from "+address+"$")
			row.leave(c)
			s.await(t, "^"+strings.ReplaceAll(row.want, "CLIENT", address)+"$")
			c.Close()
			s.rests()
			added := strings.TrimPrefix(s.printed(), before)
			if added = regexp.MustCompile(`(?m)^(inetd: |Waited 8 seconds).*\n`).ReplaceAllString(added, ""); strings.Count(added, "\n") != 2 {
				t.Fatalf("A client should leave 2 lines in the log, and there are\n%s", added)
			}
		}
	},
}, {
	name:    "LogReaderLeaves",
	promise: "When the reader of its log has left, the server goes on.",
	mend:    "a write to a pipe that nobody reads raises SIGPIPE, which ends a process. Ignore that signal, and ignore the error of the write.",
	applies: func(s Server) bool { return listens(s) && hasShell },
	check: func(t *testing.T, server Server) {
		server.script = `mkfifo "$0"; (head -n 1 <"$0"; echo left) & exec "$@" >"$0" 2>&1`
		s := start(t, server)
		s.serveOne(t)
		if server.ours() { // others may have printed nothing
			s.await(t, "^left$")
		}
		for range 5 {
			c := s.connect(t)
			c.name = "When nobody reads what the server prints, a client"
			c.ask()
			c.send("Beau")
			c.reset()
		}
		s.serveOne(t)
	},
}, {
	name:    "WhoWaits",
	promise: "The README's picture is what happens, with a server that thinks.",
	mend:    "compare the picture with that in README.md.",
	applies: Server.ours,
	check: func(t *testing.T, server Server) {
		// The program's name stands above, in bold.
		const pattern = "\n[*][*][a-z0-9_, ]*\\b%s\\b[a-z0-9_, ]*[.][*][*].*\n(?:[^*\n].*\n)*%s```"
		expectInReadme(t, server, pattern, func(step time.Duration) string {
			server.environment = thinkingVariable + "=" + step.String()
			s := start(t, server)
			drawn, err := picture.Start(s.address, step)
			must(t, err)
			for range drawn.Ticks { // an error is in the picture
			}
			return drawn.String()
		})
	},
}}

// What the system says of a broken connection differs.
const broken = `(read|write|wsarecv|wsasend): (connection reset by peer|broken pipe|.*forcibly closed.*|.*aborted.*)`

// expectInReadme calls happens with longer and longer ticks, until README.md shows the text
// that happens returns. It fails if that is the same wrong text three times, the last time
// with a tick of more than a second: with shorter ones a busy machine may be late each time
// in the same way. A program without a link in README.md passes. The pattern is a format for
// the program's name and the text.
func expectInReadme(t *testing.T, server Server, pattern string, happens func(step time.Duration) string) {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	must(t, err)
	began, before, same := time.Now(), "", 0
	for step := 100 * time.Millisecond; ; step *= 2 { // a busy machine needs a longer one
		found := happens(step)
		t.Logf("%s, with a tick of %v:\n%s", programName(), step, found)
		expected := regexp.MustCompile(fmt.Sprintf(pattern, programName(), regexp.QuoteMeta(found)))
		if same++; found != before {
			before, same = found, 1
		}
		switch {
		case expected.Match(readme) || !strings.Contains(string(readme), "("+programName()+"/main.go)"):
			return
		case same >= 3 && step > time.Second:
			t.Fatalf("README.md does not have this of %s.", programName())
		case time.Since(began) > 3*server.patience():
			t.Skip("SKIPPED: this machine is too busy: with each tick something else happens")
		}
	}
}
