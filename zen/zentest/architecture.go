package zentest

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"fopnp/chapter07/zen/tools/watch/picture"
	"fopnp/chapter07/zen/tools/where/stacks"
)

var atOnce = rule{
	name:    "AtOnce",
	promise: "The server serves as many clients at once as its architecture allows. One more waits until a client leaves.",
	mend:    "does the server serve a limited number of clients at once, as a server with one thread or a pool of them? Then say how many: -at-once 4. Without the flag any number is expected.",
	check: func(t testing.TB, server Server) {
		s := start(t, server, options{})
		var held []*client
		for i := range server.some(50) {
			c := s.connect(t)
			c.name = fmt.Sprintf("Client number %d of %d that are connected at the same time", i+1, server.some(50))
			c.ask()
			held = append(held, c)
		}
		for _, c := range held {
			c.ask()
		}
		if server.AtOnce == 0 {
			return
		}
		extra := s.connect(t)
		extra.name = fmt.Sprintf("While as many clients as the server serves at once (%d) are connected, one more", server.AtOnce)
		extra.send(question)
		for range 3 {
			extra.expectNothing()
		}
		held[len(held)/2].Close()
		extra.did("saw another client leave")
		extra.expect(answer)
	},
}

var thinkingTime = rule{
	name:    "ThinkingTime",
	promise: "The server thinks for as many clients at once as its architecture allows.",
	mend:    "compare Thinking in its main_test.go with its architecture.",
	applies: Server.ours,
	check: func(t testing.TB, server Server) {
		clients, atOnce := 6, 6
		if server.Thinking > 0 {
			clients, atOnce = server.Thinking+1, server.Thinking
		}
		var took []time.Duration
		thinking := 2 * cmp.Or(server.quiet, quiet)
		for range 3 {
			took = timeClients(t, server, clients, thinking)
			for i, d := range took {
				if turns := time.Duration(1 + i/atOnce); d < turns*thinking {
					t.Fatalf("With %v for an answer, %d clients that ask at once are answered after %v: it thinks for more than %d at once.", thinking, clients, took, atOnce)
				}
			}
			if took[atOnce-1] < 2*thinking {
				return
			}
			thinking *= 4 // a slow machine needs more
		}
		t.Fatalf("With %v for an answer, %d clients that ask at once are answered after %v: it thinks for fewer than %d at once.", thinking/4, clients, took, atOnce)
	},
}

// startThinking starts a server of this repository that thinks so long about each
// question.
func startThinking(t testing.TB, server Server, thinking time.Duration) *service {
	t.Helper()
	if server.Inetd != "" { // the program has no flags
		return start(t, server, options{environment: []string{thinkingVariable + "=" + thinking.String()}})
	}
	return start(t, server, options{thinking: thinking})
}

// timeClients lets clients ask a question at the same time, and returns when the
// first has its answer, the second, and so on.
func timeClients(t testing.TB, server Server, clients int, thinking time.Duration) (took []time.Duration) {
	s := startThinking(t, server, thinking)
	defer s.stop(t)
	s.patience += time.Duration(clients) * thinking // it may think for one after the other
	answered := make(chan time.Duration, clients)
	begin := time.Now()
	for range clients {
		c := s.connect(t)
		c.send(question)
		go func() {
			defer c.Close()
			defer func() { answered <- time.Since(begin) }()
			c.expect(answer)
		}()
	}
	for range clients {
		took = append(took, <-answered)
	}
	return took
}

var whoWaits = rule{
	name:    "WhoWaits",
	promise: "The README's picture is what happens.",
	mend:    "compare the picture with that in README.md.",
	applies: Server.ours,
	check: func(t testing.TB, server Server) {
		expectAsInReadme(t, pictures, func(tick time.Duration) string { return draw(t, server, tick) })
	},
}

// expectAsInReadme fails if what happens is not what README.md has of this program. On
// a slow machine it happens only if there is more time.
func expectAsInReadme(t testing.TB, find func(readme string) map[string]string, happens func(long time.Duration) string) {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	want := find(string(readme))[programName()]
	for long := 100 * time.Millisecond; long < 4*time.Second; long *= 3 {
		found := happens(long)
		t.Logf("%s, with %v for a step:\n%s", programName(), long, found)
		if want == "" || found == want {
			return
		}
	}
	t.Fatalf("README.md has of %s\n%s", programName(), want)
}

// pictures returns the pictures in readme by the programs. Their names stand above
// the picture, in bold.
func pictures(readme string) map[string]string {
	found := map[string]string{}
	for _, match := range pictureOf.FindAllStringSubmatch(readme, -1) {
		for _, name := range strings.Split(match[1], ", ") {
			found[name] = match[2]
		}
	}
	return found
}

var pictureOf = regexp.MustCompile("(?s)\n[*][*]([a-z0-9_, ]+)[.][*][*].*?\n(A  [^ \n]*\n[^`]*)```")

var whereItWaits = rule{
	name:    "WhereItWaits",
	promise: "The README's table of stacks is what happens.",
	mend:    "compare the stacks with those under bin/where in README.md.",
	applies: Server.ours,
	check: func(t testing.TB, server Server) {
		if quit == nil {
			t.Skip("SKIPPED on Windows: no signal makes a program print its stacks")
		}
		expectAsInReadme(t, places, func(settle time.Duration) string { return findPlaces(t, server, settle) })
	},
}

// places returns the places in which programs wait, as readme has them.
func places(readme string) map[string]string {
	_, table, _ := strings.Cut(readme, "\n$ bin/where ")
	table, _, _ = strings.Cut(table, "```")
	table = strings.ReplaceAll(table, "\n"+strings.Repeat(" ", 30)+"> ", " > ") // where breaks long rows
	found := map[string]string{}
	name := ""
	for _, row := range strings.SplitAfter(table, "\n")[1:] {
		if len(row) > 14 {
			name = cmp.Or(strings.TrimSpace(row[:14]), name)
			found[name] += row[14:]
		}
	}
	return found
}

// findPlaces returns the places in which the server waits while three clients are
// silent. Nothing tells when it waits again after it has answered; it has settle.
func findPlaces(t testing.TB, server Server, settle time.Duration) string {
	s := start(t, server, options{environment: []string{"GOTRACEBACK=single"}})
	defer s.stop(t)
	for i := range 3 {
		c := s.connect(t)
		if i < server.some(3) {
			c.ask()
		}
	}
	time.Sleep(settle)
	var found strings.Builder
	for place := range strings.Lines(stacks.Picture(s.quit(t))) {
		if !strings.Contains(place, "  zentest.") { // a goroutine of the suite
			found.WriteString(strings.Replace(place, "  main > TestMain > zentest.Main > main", "  main", 1))
		}
	}
	return found.String()
}

// draw returns the picture of the server. A tick is also how long the server
// thinks.
func draw(t testing.TB, server Server, tick time.Duration) string {
	s := startThinking(t, server, tick)
	defer s.stop(t)
	drawn, err := picture.Start(s.address, tick)
	if err != nil {
		t.Fatal(err)
	}
	drawn.Wait() // an error is in the picture
	return drawn.String()
}
