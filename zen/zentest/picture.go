package zentest

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// A picture shows what six clients see of a server: each asks a question, is
// silent for a while, asks once more, and leaves. Time is in ticks.
const (
	pictureClients = "ABCDEF"
	answerTicks    = 1 // how long the server thinks
	silentTicks    = 6 // between the answer and the next question
)

// whoWaits draws the picture of the server, prints it, and compares it with the
// picture in the README, if that has one of this program.
func whoWaits(t testing.TB, server Server) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for tick := 100 * time.Millisecond; ; tick *= 2 { // a slow machine needs longer ticks
		picture := draw(t, server, tick)
		if hasPicture(string(readme), programName(), picture) || !hasPicture(string(readme), programName(), "") {
			t.Logf("%s, a tick is %v:\n%s", programName(), tick, picture)
			return
		}
		if tick > 500*time.Millisecond {
			t.Fatalf("README.md does not have the picture of %s:\n%s", programName(), picture)
		}
	}
}

// hasPicture reports whether readme has a block with a picture that begins so,
// under a line that names the program.
func hasPicture(readme, name, picture string) bool {
	names, rest, _ := strings.Cut(readme, "\n"+cmp.Or(picture, "A  "))
	if rest == "" {
		return false
	}
	names = names[strings.LastIndexByte(names, '\n')+1:]
	if slices.Contains(strings.Split(names, ", "), name) {
		return true
	}
	return hasPicture(rest, name, picture)
}

// draw returns the picture, a line for each client:
//
//	.  waits while the server does something else
//	A  waits while the server thinks about A's question
//	-  is silent
//	|  leaves
func draw(t testing.TB, server Server, tick time.Duration) string {
	s := start(t, server, options{environment: []string{thinkingVariable + "=" + (answerTicks * tick).String()}})
	defer s.stop(t)
	lines := make([]chan string, len(pictureClients))
	begin := time.Now()
	for i, letter := range pictureClients {
		conn := s.connect(t)
		send(t, conn, question)
		lines[i] = make(chan string, 1)
		go func() {
			var line strings.Builder
			// until adds what happens up to now, the last of it answering.
			until := func(now time.Time, symbol string, atLast int) {
				ticks := int((now.Sub(begin) + tick/2) / tick)
				for line.Len() < ticks-atLast {
					line.WriteString(symbol)
				}
				line.WriteString(strings.Repeat(string(letter), atLast))
			}
			for turn := range 2 {
				if turn > 0 {
					time.Sleep(silentTicks * tick)
					until(time.Now(), "-", 0)
					conn.Write([]byte(question))
				}
				if n, err := io.ReadFull(conn, make([]byte, len(answer))); err != nil {
					t.Errorf("read %d bytes, %v", n, err)
				}
				until(time.Now(), ".", answerTicks)
			}
			conn.Close()
			lines[i] <- line.String() + "|"
		}()
	}
	var picture strings.Builder
	for i, letter := range pictureClients {
		fmt.Fprintf(&picture, "%c  %s\n", letter, <-lines[i])
	}
	return picture.String()
}
