// Watch draws what six clients of a running server see.
//
// In a terminal it draws while time passes. Otherwise it prints the picture once,
// when it is finished. What each client does is in picture/behaviours.go: start
// with polite.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
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
	// Escape sequences of terminals.
	cutLines  = "\x1b[?7l"     // cut a line that is too long
	wrapLines = "\x1b[?7h"     // wrap it again
	redraw    = "\r\x1b[%dA%v" // go up so many lines, and print the picture
)

// draw redraws p until it is finished, or a signal such as Control-C ends it.
func draw(p *picture.Picture) error {
	end := make(chan error, 2)
	go func() { end <- p.Wait() }()
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	go func() { <-interrupt; end <- errors.New("interrupted") }()

	lines := strings.Count(p.String(), "\n")
	fmt.Print(cutLines, p)
	defer fmt.Print(wrapLines)
	frames := time.Tick(50 * time.Millisecond)
	for {
		select {
		case <-frames:
			fmt.Printf(redraw, lines, p)
		case err := <-end:
			fmt.Printf(redraw, lines, p)
			return err
		}
	}
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
	if isTerminal() {
		err = draw(p)
	} else {
		err = p.Wait()
		_, writeErr := fmt.Print(p)
		err = cmp.Or(writeErr, err)
	}
	if err != nil {
		log.Fatal(err)
	}
}
