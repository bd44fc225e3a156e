package zentest

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"strconv"
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
	check: func(t *testing.T, server Server) {
		s := start(t, server, options{})
		var held []*client
		for i := range server.some(300) {
			c := s.connect(t)
			c.name = fmt.Sprintf("Client number %d of %d at the same time", i+1, server.some(300))
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
		extra.expectNothing()
		held[len(held)/2].Close()
		extra.did("saw another client leave")
		extra.expect(answer)
	},
}

var whoWaits = rule{
	name:    "WhoWaits",
	promise: "The README's picture is what happens, with a server that thinks.",
	mend:    "compare the picture with that in README.md.",
	applies: Server.ours,
	check: func(t *testing.T, server Server) {
		expectAsInReadme(t, pictures, func(tick time.Duration) string {
			s := start(t, server, options{environment: []string{thinkingVariable + "=" + tick.String()}})
			defer s.stop(t)
			drawn, err := picture.Start(s.address, tick)
			if err != nil {
				t.Fatal(err)
			}
			drawn.Wait() // an error is in the picture
			return drawn.String()
		})
	},
}

// expectAsInReadme fails if what happens is not what README.md has of this program.
func expectAsInReadme(t *testing.T, find func(readme string) map[string]string, happens func(tick time.Duration) string) {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	want := find(string(readme))[programName()]
	tryAgain(t, func(tick time.Duration) (problem string, late bool) {
		found := happens(tick)
		t.Logf("%s, with a tick of %v:\n%s", programName(), tick, found)
		if want == "" || found == want {
			return "", false
		}
		return fmt.Sprintf("README.md has of %s\n%s", programName(), want), true
	})
}

// pictures returns the pictures in readme by the programs. Their names stand above
// the picture, in bold.
func pictures(readme string) map[string]string {
	found := map[string]string{}
	for _, match := range pictureOf.FindAllStringSubmatch(readme, -1) {
		for name := range strings.SplitSeq(match[1], ", ") {
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
	check: func(t *testing.T, server Server) {
		if quit == nil {
			t.Skip("SKIPPED on Windows: no signal makes a program print its stacks")
		}
		expectAsInReadme(t, places, func(time.Duration) string {
			s := start(t, server, options{environment: []string{"GOTRACEBACK=single"}})
			defer s.stop(t)
			for i := range 3 {
				c := s.connect(t)
				if i < server.some(3) {
					c.ask()
				}
			}
			s.rests(t)
			return s.findPlaces(t)
		})
	},
}

// places returns the places in which programs wait, as readme has them.
func places(readme string) map[string]string {
	_, table, _ := strings.Cut(readme, "\n$ bin/where ")
	table, _, _ = strings.Cut(table, "```")
	found, name := map[string]string{}, ""
	for _, row := range strings.SplitAfter(table, "\n")[1:] {
		if len(row) > 13 {
			name = cmp.Or(strings.TrimSpace(row[:13]), name)
			found[name] += row[13:]
		}
	}
	return found
}

// findPlaces ends the server, and returns the places in which it has waited.
func (s *service) findPlaces(t *testing.T) string {
	for _, started := range regexp.MustCompile(`(?m)^inetd: Started .* as process (\d+)$`).FindAllStringSubmatch(s.printed(), -1) {
		pid, _ := strconv.Atoi(started[1]) // one after the other: all print to the same file
		process, _ := os.FindProcess(pid)
		process.Signal(quit)
		s.await(t, 1, "^inetd: Ended process "+started[1]+":")
	}
	if listens(s.server) {
		s.end(t, quit)
	}
	s.end(t, os.Kill)
	// Under test main is called by Main.
	return strings.ReplaceAll(stacks.Picture(s.printed()), "main > TestMain > zentest.Main > main", "main")
}
