// Watch draws what six clients of a running server see.
//
// In a terminal it draws while time passes. Otherwise it prints the picture once, when
// it is complete. What the clients do is in picture/picture.go: start with converse.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/tools/watch/picture"
)

// draw prints p in each tick in a terminal, and once when it is complete. It returns the
// first error. It changes no mode of the terminal, so it may be stopped or killed.
func draw(p *picture.Picture) error {
	_, columns := terminalSize()
	terminal := columns > 0
	up, last := "", time.Now()
	for range p.Ticks {
		if !terminal {
			continue
		}
		if time.Since(last) > zen.ThinkingTime+time.Second { // it was stopped: other text may be above the cursor
			up = ""
		}
		last = time.Now()
		rows, columns := terminalSize()
		lines := strings.Split(p.String(), "\n")
		if columns == 0 || len(lines) >= rows { // up would not reach the first line
			continue
		}
		for i, line := range lines {
			lines[i] = line[:min(len(line), columns-1)]
		}
		fmt.Print(up, strings.Join(lines, "\n"))
		up = fmt.Sprintf("\r\x1b[%dA\x1b[J", len(lines)-1) // erases what is below, too
	}
	_, err := fmt.Print(up, p)
	if errors.Is(err, syscall.EPIPE) {
		os.Exit(0) // the reader has left, as head -1 does
	}
	return cmp.Or(err, p.Err)
}

// terminalSize returns the size of the terminal that is standard output, or 0, 0 if it is
// no terminal, or one that cannot move the cursor up or does not know its size. Package
// syscall can ask only through package unsafe, so terminalSize asks stty.
func terminalSize() (rows, columns int) {
	stty := exec.Command("stty", "size")
	stty.Stdin = os.Stdout
	size, _ := stty.Output() // none if it is no terminal
	if term := os.Getenv("TERM"); term != "" && term != "dumb" {
		fmt.Sscan(string(size), &rows, &columns)
	}
	return rows, columns
}

func main() {
	var beside []string
	flag.Func("beside", "a `KIND` of client that connects first, for 12 ticks (may be repeated): silent asks nothing; flood asks as fast as it can; deaf does so and reads nothing; endless asks too long a question", func(kind string) error {
		if picture.Kinds[kind] == nil {
			return errors.New("expected silent, flood, deaf or endless")
		}
		beside = append(beside, kind)
		return nil
	})
	zen.ThinkingTime = 250 * time.Millisecond
	address := zen.ParseCommandLine(`Draws six clients of a running server. Each asks a question, waits for the
answer, is silent for six ticks, asks again, and leaves. -think is a tick: give
the server the same.`)
	if zen.ThinkingTime < time.Millisecond {
		fmt.Fprintf(os.Stderr, "expected a tick of at least 1ms, got -think %v\n", zen.ThinkingTime)
		flag.CommandLine.Usage()
		os.Exit(2)
	}

	p, err := picture.Start(address, zen.ThinkingTime, beside...)
	if err != nil {
		log.Fatalf("%v; is a server running at %s?", err, address)
	}
	fmt.Printf(". waits  A is answered  - is silent  | leaves  ! error  (a column is %v)\n", zen.ThinkingTime)
	err = draw(p)
	// Without -beside, A is first. It waits for nobody: its row shows how long the server thinks.
	row, _, _ := strings.Cut(p.String(), "\n")
	if strings.HasPrefix(row, "A ") && strings.HasSuffix(row, "A|") && row != "A  A------A|" {
		log.Printf("A does not get its answers in a tick: start the server with -think %v too", zen.ThinkingTime)
	}
	if err != nil {
		log.Fatal(err)
	}
}
