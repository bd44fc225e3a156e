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
)

var atOnce = rule{
	name:    "AtOnce",
	promise: "The server serves as many clients at once as its architecture allows. One more waits until a client leaves.",
	mend:    "does the server serve a limited number of clients at once, as a server with one thread or a pool of them? Then say how many: -at-once 4. Without the flag any number is expected.",
	check: func(t *testing.T, server Server) {
		s := start(t, server, options{})
		var held []*client
		n := server.some(300)
		if n < 300 && unlimited(server) {
			t.Logf("SKIPPED in part: only %d clients come, because this system allows %d descriptors", n, descriptorLimit())
		}
		for i := range n {
			c := s.connect(t)
			c.name = fmt.Sprintf("Client number %d of %d at the same time", i+1, n)
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
		expectAsInReadme(t, pictures, func(step time.Duration) string {
			s := start(t, server, options{environment: []string{thinkingVariable + "=" + step.String()}})
			drawn, err := picture.Start(s.address, step)
			must(t, err)
			drawn.Wait() // an error is in the picture
			return drawn.String()
		})
	},
}

// expectAsInReadme fails if what happens is not what README.md has of this program.
func expectAsInReadme(t *testing.T, find func(readme string) map[string]string, happens func(step time.Duration) string) {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	must(t, err)
	want := find(string(readme))[programName()]
	for step := 100 * time.Millisecond; ; step *= 2 { // a busy machine needs a longer one
		found := happens(step)
		t.Logf("%s, with a tick of %v:\n%s", programName(), step, found)
		if want == "" || found == want {
			return
		}
		if step > 3*time.Second {
			t.Fatalf("README.md has of %s\n%s", programName(), want)
		}
	}
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
