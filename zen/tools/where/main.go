// Where shows where servers wait while three clients are connected and silent: in
// which of its functions each goroutine is.
//
//	go build -o bin/ ./... && bin/where bin/srv_* bin/in_*
//
// It starts each program, connects the clients, and sends the program SIGQUIT: a Go
// program then prints the stacks of its goroutines and ends.
//
// Without programs Where is a filter, for a server that you start yourself. Press
// Control-\ to send SIGQUIT:
//
//	bin/srv_legacy '' 2>&1 | bin/where
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"fopnp/chapter07/zen/tools/where/stacks"
)

// filter copies input to output up to the stacks, and prints their picture in place
// of them.
func filter(output io.Writer, input io.Reader) error {
	lines := bufio.NewReader(input)
	for {
		line, err := lines.ReadString('\n')
		if strings.TrimSpace(line) == stacks.FirstLine {
			break
		}
		io.WriteString(output, line)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	dump, err := io.ReadAll(lines)
	fmt.Fprintf(output, "\n%s", stacks.Picture(string(dump)))
	return err
}

func main() {
	log.SetFlags(0)
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: where [PROGRAM ...]\nShows where each program waits while three clients are silent. Without PROGRAM:\nshows that of a server whose output it reads, when you press Control-\\.")
	}
	flag.Parse()
	if flag.NArg() == 0 {
		signal.Ignore(syscall.SIGQUIT) // the terminal sends it to the filter too
		if err := filter(os.Stdout, os.Stdin); err != nil {
			log.Fatal(err)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, program := range flag.Args() {
		dump, err := run(ctx, program)
		if err != nil {
			log.Fatalf("%s: %v", program, err)
		}
		name := filepath.Base(program)
		for line := range strings.Lines(stacks.Picture(dump)) {
			if _, err := fmt.Printf("%-12s  %s", name, line); err != nil {
				log.Fatal(err)
			}
			name = ""
		}
	}
}
