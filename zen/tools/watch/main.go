// Watch draws what six clients of a running server see.
//
// In a terminal it draws while time passes. Otherwise it prints the picture once, when
// it is complete. What the clients do is in picture/picture.go: start with polite.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/tools/watch/picture"
)

const (
	description = `Draws six clients of a running server. Each asks a question, waits for the
answer, is silent for six ticks, asks again, and leaves. -think is a tick: give
the server the same.`

	legend = ". waits  A is answered  - is silent  | leaves  ! error  (a column is %v)\n"
)

// terminalSize returns the size of the terminal that is standard output, or 0, 0 if it
// is no terminal, or one that cannot move the cursor up. Package syscall can ask only
// through package unsafe, so terminalSize asks stty.
func terminalSize() (rows, columns int) {
	stty := exec.Command("stty", "size")
	stty.Stdin = os.Stdout
	output, err := stty.Output()
	if err != nil || os.Getenv("TERM") == "" || os.Getenv("TERM") == "dumb" {
		return 0, 0
	}
	fmt.Sscan(string(output), &rows, &columns)
	if rows == 0 || columns == 0 {
		return 24, 80 // a terminal that does not know, such as a serial line
	}
	return rows, columns
}

// show prints p again and again in a terminal, and once when it is complete. It
// returns p's error. It changes no mode of the terminal, so the program may be stopped
// or killed.
func show(p *picture.Picture) error {
	complete := make(chan error, 1)
	go func() { complete <- p.Wait() }()
	var frames <-chan time.Time
	if rows, _ := terminalSize(); rows > 0 {
		frames = time.Tick(50 * time.Millisecond)
	}
	up, drawn, last := "", "", time.Now()
	for {
		select {
		case <-frames:
			if time.Since(last) > time.Second { // stopped: other text may be above the cursor
				up, drawn = "", ""
			}
			last = time.Now()
			text := p.String()
			if text == drawn {
				continue
			}
			rows, columns := terminalSize()
			if lines := strings.Count(text, "\n"); lines+1 < rows { // if not, up would not reach the first
				fmt.Print(up, cut(text, columns))
				up, drawn = fmt.Sprintf("\r\x1b[%dA", lines), text
			}
		case err := <-complete:
			_, writeErr := fmt.Print(up, p)
			return cmp.Or(writeErr, err)
		}
	}
}

// cut cuts the lines of a picture to the columns of a terminal. Each line erases what
// is at its right.
func cut(text string, columns int) (frame string) {
	for line := range strings.Lines(text) {
		frame += line[:min(len(line)-1, columns-1)] + "\x1b[K\n"
	}
	return frame
}

func main() {
	var beside []string
	kinds := strings.Join(picture.Kinds, ", ")
	flag.Func("beside", "a `KIND` of client that connects first, for 12 ticks (may be repeated): silent asks nothing; flood asks as fast as it can; deaf does so and reads nothing; endless asks too long a question", func(kind string) error {
		if !slices.Contains(picture.Kinds, kind) {
			return errors.New("expected one of " + kinds)
		}
		beside = append(beside, kind)
		return nil
	})
	zen.ThinkingTime = 250 * time.Millisecond
	address := zen.ParseCommandLine(description)
	if zen.ThinkingTime < time.Millisecond || zen.ThinkingTime > time.Minute {
		fmt.Fprintf(os.Stderr, "expected a tick from 1ms to 1m, got -think %v\n", zen.ThinkingTime)
		flag.CommandLine.Usage()
		os.Exit(2)
	}

	p, err := picture.Start(address, zen.ThinkingTime, beside...)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf(legend, zen.ThinkingTime)
	err = show(p)
	if errors.Is(err, syscall.EPIPE) {
		return // the reader has left, as head -1 does
	}
	// The first client waits for nobody: its row shows how long the server thinks.
	row, _, _ := strings.Cut(p.String(), "\n")
	if strings.HasPrefix(row, "A ") && strings.HasSuffix(row, "A|") && row != "A  A------A|" {
		log.Printf("A does not get its answers in a tick: start the server with -think %v too", zen.ThinkingTime)
	}
	if err != nil {
		log.Fatal(err)
	}
}
