// Watch draws what six clients of a running server see.
//
// In a terminal it draws while time passes. Otherwise it prints the picture once, when
// it is complete. What the clients do is in picture/picture.go: start with polite.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
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
	err = draw(p, fmt.Sprintf(legend, zen.ThinkingTime))
	// The first client waits for nobody: its row shows how long the server thinks.
	row, _, _ := strings.Cut(p.String(), "\n")
	if strings.HasPrefix(row, "A ") && strings.HasSuffix(row, "A|") && row != "A  A------A|" {
		log.Printf("A does not get its answers in a tick: start the server with -think %v too", zen.ThinkingTime)
	}
	if err != nil {
		log.Fatal(err)
	}
}
