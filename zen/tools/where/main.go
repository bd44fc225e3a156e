//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

// Where shows where servers wait while three clients are connected and silent: it prints
// the functions that each goroutine is in.
//
//	go build -o bin/ ./... && bin/where bin/srv_* bin/in_*
//
// It starts each program, connects the clients, and sends the program SIGQUIT: a Go
// program then prints the stacks of its goroutines and ends (stacks/dump.go). The inetd
// that is beside them starts in_zen1 and in_zen2.
//
// Without programs Where is a filter, for a server that you start yourself. Press
// Control-\ to send SIGQUIT:
//
//	bin/srv_legacy '' 2>&1 | bin/where
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"fopnp/chapter07/zen/tools/where/stacks"
)

// filter copies input to output, with the picture of the stacks in place of the stacks. It
// returns the first error, which is io.EOF at the end of input.
func filter(output io.Writer, input io.Reader) error {
	lines := bufio.NewReader(input)
	for {
		line, readErr := lines.ReadString('\n')
		if strings.HasPrefix(line, "PC=0x") { // the stacks follow
			rest, _ := io.ReadAll(lines) // its error comes again
			line += string(rest)
			line = cmp.Or(stacks.Picture(line), line) // a program of another repository has no picture
		}
		_, writeErr := io.WriteString(output, line)
		if err := cmp.Or(writeErr, readErr); err != nil {
			return err
		}
	}
}

// run returns the picture of the stacks of program.
func run(ctx context.Context, program string) (picture string, err error) {
	const patience = 20 * time.Second
	ctx, end := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no stacks within %v", patience))
	defer end()
	server := exec.Command(program, "-p", "0", "127.0.0.1")
	name := filepath.Base(program)
	if mode := map[string]string{"in_zen1": "nowait", "in_zen2": "wait"}[name]; mode != "" {
		server = exec.Command(filepath.Dir(program)+"/inetd", "/dev/stdin")
		server.Stdin = strings.NewReader("127.0.0.1:0 stream tcp " + mode + " me " + name + " " + name)
	}
	dump, err := stacks.Dump(ctx, time.Second/10, server)
	if picture = stacks.Picture(dump); err == nil && picture == "" {
		err = errors.New("no stack has a function of this repository")
	}
	return picture, err
}

func main() {
	log.SetFlags(0)
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: where [PROGRAM ...]\nShows where each program waits while three clients are silent. Without PROGRAM\nit reads the output of a server: press Control-\\ to see where that server waits.")
	}
	flag.Parse()
	if flag.NArg() == 0 {
		// The terminal sends SIGQUIT to the filter, too. It must read the stacks before it ends.
		quit, _ := signal.NotifyContext(context.Background(), syscall.SIGQUIT)
		if stdin, err := os.Stdin.Stat(); err == nil && stdin.Mode()&os.ModeCharDevice != 0 {
			fmt.Fprintln(os.Stderr, "where: reading what a server prints on SIGQUIT; -h says more")
			context.AfterFunc(quit, func() { os.Exit(1) })
		}
		if err := filter(os.Stdout, os.Stdin); err != io.EOF {
			log.Fatal(err)
		}
		return
	}
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	for _, program := range flag.Args() {
		picture, err := run(ctx, program)
		if err == nil {
			rows := strings.ReplaceAll(strings.TrimSpace(picture), "\n", fmt.Sprintf("\n%-13s", ""))
			_, err = fmt.Printf("%-13s%s\n", filepath.Base(program), rows)
		}
		if err != nil {
			log.Fatalf("%s: %v", program, err)
		}
	}
}
